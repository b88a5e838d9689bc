"""The built-in readers of corpus files: each file declares the `Reader`s that it makes.

A new kind of files is a new file here (or an entry point of another package, see `Reader`):

    def read_srt(path: Path, decoding: Decoding) -> Extract:
        with open_bytes(path) as file:
            return Extract(spoken(decoding.decode_file(read_at_most(file, MAX_ENTRY_BYTES))), "")

    SUBTITLES = Reader("subtitles", (".srt",), document=read_srt)
"""
