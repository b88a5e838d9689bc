"""Filters: search among the documents whose metadata fit.

    index.search("tariffs", where={"lang": "en", "year": {"$gte": 2000, "$lt": 2010}})
    index.search("tariffs", where={"$or": [{"tag": {"$in": ["law", "tax"]}}, {"author.name": "X"}]})

The dialect is the one that vector databases took over from MongoDB, in plain JSON data:

| filter                                   | fits a document whose metadata                        |
|------------------------------------------|-------------------------------------------------------|
| `{"lang": "en"}`                         | has the value "en" in `lang`; the same as `$eq`       |
| `{"year": {"$eq": 2001}}`                | has this value                                        |
| `{"year": {"$gte": 2000, "$lt": 2010}}`  | has one value within (`$gt`, `$gte`, `$lt`, `$lte`)   |
| `{"tag": {"$in": ["law", "tax"]}}`       | has one of the values                                 |
| `{"lang": {"$ne": "en"}}`                | has not this value, or no `lang` at all               |
| `{"tag": {"$nin": ["law", "tax"]}}`      | has none of the values, or no `tag` at all            |
| `{"year": {"$exists": true}}`            | has the field, be it null or empty (false: has not)  |
| `{"year": {"$not": {"$lt": 2000}}}`      | does not fit what follows; also `{"$not": {...}}`     |
| `{"$and": [{...}, {...}]}`               | fits all of them                                      |
| `{"$or": [{...}, {...}]}`                | fits at least one of them                             |
| `{"lang": "en", "year": 2001}`           | fits both: several keys, or operators, mean `$and`    |

- **Lists**: a field that holds a list fits when any element does. The bounds of one range must hold
  for one element; `{"$and": [{"year": {"$gte": 2000}}, {"year": {"$lt": 2010}}]}` asks less.
- **Nested**: `"author.name"` reaches into objects, and into the objects of a list. A key that holds
  a dot itself is written the same way.
- **Types** are those of JSON and distinct: true is not 1, "1" is not 1, null is a value. Integers
  and floats compare as numbers. Ranges compare numbers with numbers and texts with texts, by code
  point, so that dates as "2024-05-31" work.
- **Missing fields** fit only `$ne`, `$nin`, `$not` and `{"$exists": false}`.
- **`"_id"`** is the id of the document and **`"_title"`** its title ("" where it has none), not the
  metadata of these names. `_title` has no index, so the filter reads through all documents.
- Integers beyond 64 bits are taken as the nearest float, and lone surrogates in texts as U+FFFD, in
  metadata and filters alike.
- `{}` fits every document. `{"$in": []}` fits none; an empty `$and` or `$or` is an error, as is
  everything else that has no plain meaning.
"""

from __future__ import annotations

from retrieval_index.filters.fields import SCHEMA, field_rows
from retrieval_index.filters.filter import Filter
from retrieval_index.filters.parsing import parse_filter

__all__ = ["SCHEMA", "Filter", "field_rows", "parse_filter"]
