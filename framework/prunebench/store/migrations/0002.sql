-- By which rule `mac_count` was counted (`records.COUNTING_RULE` of that time): empty in rows that are older than this.
alter table result add column counting_rule integer;
