create table products (
    id bigint generated always as identity primary key,
    name text not null check (name <> ''),
    description text not null default '',
    price_cents bigint not null check (price_cents >= 0),
    revision bigint not null default 1,
    updated_at timestamptz not null default clock_timestamp(),
    -- Deleted rows stay, so that a catch-up can tell the index what to forget.
    deleted_at timestamptz
);

create index products_updated_at on products (updated_at);

-- Both values come from the database: its clock is the one clock that all writers share, and because the row is
-- locked while it is changed, `revision` grows by exactly one with each change.
create function touch_product() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        new.revision := 1;
    else
        new.revision := old.revision + 1;
    end if;
    new.updated_at := clock_timestamp();
    return new;
end
$$;

create trigger touch_product before insert or update on products
    for each row execute function touch_product();
