-- What code a result's plugins were made of: "kind:name" -> "editable hash", "file hash" or "distribution version".

alter table provenance add column code json;
