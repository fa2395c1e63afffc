-- What two numbers must have in common to be compared: of text, the corpus, its tokenizer, windows and their stride.
alter table provenance add column data json;
