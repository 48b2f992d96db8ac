-- Version 2. A constant default is stored once and rewrites no row (PostgreSQL 11 and newer), and version 1, which
-- names its columns in every statement, neither sees the new one nor has to fill it.
alter table products add column brand text not null default 'unbranded';
