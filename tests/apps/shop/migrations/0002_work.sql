-- What the web processes leave for the workers: each change of a product.
create table jobs (
    id bigint generated always as identity primary key,
    product_id bigint not null references products (id),
    created_at timestamptz not null default clock_timestamp()
);

-- What the workers make of it.
create table price_history (
    id bigint generated always as identity primary key,
    product_id bigint not null references products (id),
    price_cents bigint not null,
    at timestamptz not null default clock_timestamp()
);

-- Which version of the worker ran when, and how many jobs it did.
create table job_runs (
    id bigint generated always as identity primary key,
    version smallint not null,
    jobs bigint not null,
    at timestamptz not null default clock_timestamp()
);
