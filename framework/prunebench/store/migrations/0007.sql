-- Where a run came from that somebody else published: the folder's or file's name, who is named in it, the hash of its
-- manifest (of the file, where there is none), and the version that wrote it. Runs made here have no row.
create table origin (
    run integer not null,
    source varchar not null,
    publisher varchar not null,
    content varchar not null,
    prunebench varchar not null
);
