use proptest::prelude::*;

use super::{KEPT, SPOKEN, essence, in_a_sentence, last};

/// What a tool prints, shortened from a public report, and what is kept of it.
struct Case {
    /// The report: repository and number.
    report: &'static str,
    said: &'static str,
    kept: &'static str,
}

const RUBY: [Case; 2] = [
    Case {
        report: "cyfronet-fid/marketplace#144; what follows the error is that of mastodon/mastodon#2640",
        said: r#"== 20180705121340 AddTagline: migrating ======
rails aborted!
StandardError: An error has occurred, this and all later migrations canceled:

PG::NotNullViolation: ERROR:  column "tagline" contains null values
/app/db/migrate/20180705121340_add_tagline.rb:3:in `change'
bin/rails:4:in `<main>'

Caused by:
ActiveRecord::NotNullViolation: PG::NotNullViolation: ERROR:  column "tagline" contains null values
/app/db/migrate/20180705121340_add_tagline.rb:3:in `change'

Caused by:
PG::NotNullViolation: ERROR:  column "tagline" contains null values
bin/rails:4:in `<main>'
Tasks: TOP => db:migrate
(See full trace by running task with --trace)
-- add_column(:services, :tagline, :text, {:null=>false})
"#,
        kept: r#"== 20180705121340 AddTagline: migrating ======
StandardError: An error has occurred, this and all later migrations canceled:
PG::NotNullViolation: ERROR:  column "tagline" contains null values"#,
    },
    Case {
        report: "a task that rake does not know: no word in it names an error",
        said: "rake aborted!\nDon't know how to build task 'db:migrat' (See the list of available tasks)\n\n(See full trace by running task with --trace)\n",
        kept: "Don't know how to build task 'db:migrat' (See the list of available tasks)",
    },
];

const PYTHON: [Case; 3] = [
    Case {
        report: "peering-manager/peering-manager#475",
        said: r#"Running migrations:
  Applying peering.0074_add_configcontext...Traceback (most recent call last):
  File "/opt/venv/lib/python3.8/site-packages/django/db/backends/utils.py", line 84, in _execute
    return self.cursor.execute(sql, params)
psycopg2.errors.DuplicateColumn: column "config_context" of relation "peering_router" already exists


The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "manage.py", line 11, in <module>
    execute_from_command_line(sys.argv)
django.db.utils.ProgrammingError: column "config_context" of relation "peering_router" already exists
"#,
        kept: r#"Running migrations:
  Applying peering.0074_add_configcontext...Traceback (most recent call last):
psycopg2.errors.DuplicateColumn: column "config_context" of relation "peering_router" already exists"#,
    },
    Case {
        report: "peering-manager/peering-manager#475, the error that it begins with",
        said: r#"  File "/usr/lib/python3/dist-packages/django/db/backends/utils.py", line 89, in _execute
    return self.cursor.execute(sql, params)
django.db.utils.ProgrammingError: column "prechange_data" of relation "utils_objectchange" does not exist
LINE 1: ...ct_type_id", "related_object_id", "object_repr", "prechange...
                                                             ^
HINT:  Perhaps you meant "postchange_data".
"#,
        kept: r#"django.db.utils.ProgrammingError: column "prechange_data" of relation "utils_objectchange" does not exist
LINE 1: ...ct_type_id", "related_object_id", "object_repr", "prechange...
HINT:  Perhaps you meant "postchange_data"."#,
    },
    Case {
        report: "journiv/journiv-app#80",
        said: r#"INFO  [alembic.runtime.migration] Will assume transactional DDL.
INFO  [alembic.runtime.migration] Running upgrade  -> 31316b8d8d5f, initial schema
Traceback (most recent call last):
  File "/usr/local/lib/python3.11/site-packages/sqlalchemy/engine/base.py", line 1967, in _exec_single_context
    self.dialect.do_execute(
psycopg2.errors.DuplicateTable: relation "mood" already exists

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/usr/local/bin/alembic", line 8, in <module>
    sys.exit(main())
             ^^^^^^
sqlalchemy.exc.ProgrammingError: (psycopg2.errors.DuplicateTable) relation "mood" already exists

[SQL: CREATE TABLE mood (id UUID NOT NULL)]
(Background on this error at: https://sqlalche.me/e/20/f405)
"#,
        kept: r#"INFO  [alembic.runtime.migration] Will assume transactional DDL.
INFO  [alembic.runtime.migration] Running upgrade  -> 31316b8d8d5f, initial schema
psycopg2.errors.DuplicateTable: relation "mood" already exists
sqlalchemy.exc.ProgrammingError: (psycopg2.errors.DuplicateTable) relation "mood" already exists
[SQL: CREATE TABLE mood (id UUID NOT NULL)]"#,
    },
];

const JAVA: [Case; 3] = [
    Case {
        report: "flyway/flyway#3145",
        said: r#"ERROR: Migration V5.0__create_test_table.sql failed
---------------------------------------------
SQL State  : 42601
Error Code : 0
Message    : ERROR: syntax error at or near ";"
Location   : migrations/V5.0__create_test_table.sql
Line       : 1
Statement  : CREATE TABLE sometable (id CHAR(36) NOT NULL;

	at org.flywaydb.core.internal.command.DbMigrate.doMigrateGroup(DbMigrate.java:357)
	... 20 more
"#,
        kept: r#"ERROR: Migration V5.0__create_test_table.sql failed
SQL State  : 42601
Error Code : 0
Message    : ERROR: syntax error at or near ";"
Location   : migrations/V5.0__create_test_table.sql
Line       : 1
Statement  : CREATE TABLE sometable (id CHAR(36) NOT NULL;"#,
    },
    Case {
        report: "cloudfoundry/app-autoscaler-release#3297",
        said: r#"Running Changeset: servicebroker.db.changelog.yaml::5::Arsalan

UPDATE SUMMARY
Total change sets:            7

ERROR: Exception Details
ERROR: Exception Primary Class:  PSQLException
ERROR: Exception Primary Reason:  ERROR: column "custom_metrics_strategy" of relation "binding" contains null values
"#,
        kept: r#"UPDATE SUMMARY
Total change sets:            7
ERROR: Exception Details
ERROR: Exception Primary Class:  PSQLException
ERROR: Exception Primary Reason:  ERROR: column "custom_metrics_strategy" of relation "binding" contains null values"#,
    },
    Case {
        report: "saveourtool/save-cloud#448",
        said: r#"Exception in thread "main" java.lang.IllegalStateException: cannot start
	at org.springframework.boot.SpringApplication.run(SpringApplication.java:771)
Caused by: liquibase.exception.LiquibaseException: Migration failed for change set insert.xml::test_execution-insert::frolov:
     Reason: java.sql.SQLException: Parameter index out of range (7 > number of parameters, which is 6).
	at liquibase.changelog.ChangeSet.execute(ChangeSet.java:670)
	... 35 more
"#,
        kept: r#"Exception in thread "main" java.lang.IllegalStateException: cannot start
Caused by: liquibase.exception.LiquibaseException: Migration failed for change set insert.xml::test_execution-insert::frolov:
     Reason: java.sql.SQLException: Parameter index out of range (7 > number of parameters, which is 6)."#,
    },
];

const JAVASCRIPT: [Case; 4] = [
    Case {
        report: "SOZ-Faut-etre-Sub/SOZ-FiveM-Server#175",
        said: r"14 migrations found in prisma/migrations

Applying migration `20230414_events`

Error: P3018

A migration failed to apply. New migrations cannot be applied before the error is recovered from.

Database error code: 1067

Database error:
Invalid default value for 'end'
npm ERR! code ELIFECYCLE
npm ERR! errno 1
",
        kept: r"14 migrations found in prisma/migrations
Applying migration `20230414_events`
Error: P3018
A migration failed to apply. New migrations cannot be applied before the error is recovered from.
Database error code: 1067
Database error:
Invalid default value for 'end'",
    },
    Case {
        report: "langfuse/langfuse-k8s#253",
        said: r"Error: P3009

migrate found failed migrations in the target database, new migrations will not be applied.
The `20240528214728_add_cursor_index_03` migration started at 2025-10-10 13:48:23.538445 UTC failed
",
        kept: r"Error: P3009
migrate found failed migrations in the target database, new migrations will not be applied.
The `20240528214728_add_cursor_index_03` migration started at 2025-10-10 13:48:23.538445 UTC failed",
    },
    Case {
        report: "CaramelFur/Picsur#10",
        said: r#"QueryFailedError: relation "e_image_backend" already exists
    at PostgresQueryRunner.query (/picsur/node_modules/typeorm/driver/postgres/PostgresQueryRunner.js:211:19)
    at async MigrationExecutor.executePendingMigrations (/picsur/node_modules/typeorm/migration/MigrationExecutor.js:178:17) {
  query: 'CREATE TABLE "e_image_backend" ()',
  code: '42P07'
}
"#,
        kept: r#"QueryFailedError: relation "e_image_backend" already exists"#,
    },
    Case {
        report: "knex/knex#1234",
        said: r#"migration file "20160227_users.js" failed
migration failed with error: create table "users" ("id" serial primary key) - relation "users" already exists
error: create table "users" ("id" serial primary key) - relation "users" already exists
    at Parser.parseErrorMessage (/app/node_modules/pg-protocol/dist/parser.js:287:98)
"#,
        kept: r#"migration file "20160227_users.js" failed
migration failed with error: create table "users" ("id" serial primary key) - relation "users" already exists"#,
    },
];

const OTHERS: [Case; 8] = [
    Case {
        report: "blockscout/blockscout#6528",
        said: r#"19:41:35.156 [info] == Running 20220919105140 AddMethodIdIndex.up/0 forward
19:41:35.163 [info] execute "CREATE INDEX CONCURRENTLY method_id ON transactions (input)"
** (Postgrex.Error) ERROR 42P07 (duplicate_table) relation "method_id" already exists
    (ecto_sql 3.9.0) lib/ecto/adapters/sql.ex:905: Ecto.Adapters.SQL.raise_sql_call_error/1
    (elixir 1.13.1) lib/enum.ex:1593: Enum."-map/2-lists^map/1-0-"/2
    (stdlib 3.17) timer.erl:166: :timer.tc/1
"#,
        kept: r#"19:41:35.156 [info] == Running 20220919105140 AddMethodIdIndex.up/0 forward
19:41:35.163 [info] execute "CREATE INDEX CONCURRENTLY method_id ON transactions (input)"
** (Postgrex.Error) ERROR 42P07 (duplicate_table) relation "method_id" already exists"#,
    },
    Case {
        report: "pixelfed/pixelfed#3497",
        said: r"Migrating: 2022_04_20_061915_create_conversations_table

   Illuminate\Database\QueryException

  SQLSTATE[42S01]: Base table or view already exists: 1050 Table 'conversations' already exists

  at vendor/laravel/framework/src/Illuminate/Database/Connection.php:703
    699|         // If an exception occurs when attempting to run a query, we'll format the error
  > 703|             throw new QueryException(

      +12 vendor frames
  13  database/migrations/2022_04_20_061915_create_conversations_table.php:17
",
        kept: r"Migrating: 2022_04_20_061915_create_conversations_table
   Illuminate\Database\QueryException
  SQLSTATE[42S01]: Base table or view already exists: 1050 Table 'conversations' already exists",
    },
    Case {
        report: "getprobo/probo#28",
        said: "panic: cannot migrate database schema: cannot apply migration &{20250126T141600Z CREATE TYPE control_state AS ENUM (\n\t'NOT_STARTED',\n\t);\n}: cannot execute migration: ERROR: syntax error at or near \")\" (SQLSTATE 42601)\n\ngoroutine 1 [running]:\nmain.main()\n\t/app/cmd/probod/main.go:34 +0x194\nexit status 2\n",
        kept: "panic: cannot migrate database schema: cannot apply migration &{20250126T141600Z CREATE TYPE control_state AS ENUM (\n\t'NOT_STARTED',\n}: cannot execute migration: ERROR: syntax error at or near \")\" (SQLSTATE 42601)",
    },
    Case {
        report: "pressly/goose#859",
        said: "2024/11/22 10:59:17 OK   00001_users.sql (4.98ms)\n2024/11/22 10:59:18 goose run: ERROR 20241119152933_init.sql: failed to run SQL migration: relation \"users\" does not exist (SQLSTATE 42P01)\n",
        kept: "2024/11/22 10:59:17 OK   00001_users.sql (4.98ms)\n2024/11/22 10:59:18 goose run: ERROR 20241119152933_init.sql: failed to run SQL migration: relation \"users\" does not exist (SQLSTATE 42P01)",
    },
    Case {
        report: "mstange/samply#434",
        said: "thread 'main' panicked at src/quota_manager.rs:68:10:\ncalled `Result::unwrap()` on an `Err` value: SqliteFailure(CannotOpen)\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n",
        kept: "thread 'main' panicked at src/quota_manager.rs:68:10:\ncalled `Result::unwrap()` on an `Err` value: SqliteFailure(CannotOpen)",
    },
    Case {
        report: "msupply-foundation/open-msupply#9796, as anyhow prints it",
        said: "Error: Failed to run DB migrations\n\nCaused by:\n    The database is of a later version (2.14.0) than the server (2.13.0)\n\nStack backtrace:\n   0: anyhow::error::<impl anyhow::Error>::msg\n             at ./src/error.rs:83:36\n",
        kept: "Error: Failed to run DB migrations\n    The database is of a later version (2.14.0) than the server (2.13.0)",
    },
    Case {
        report: "lorint/AdventureWorks-for-Postgres#9, run from a file",
        said: "CREATE TABLE\nCOPY 504\npsql:install.sql:812: ERROR:  insert or update on table \"productreview\" violates foreign key constraint \"FK_Product\"\nDETAIL:  Key (productid)=(709) is not present in table \"product\".\n",
        kept: "CREATE TABLE\nCOPY 504\npsql:install.sql:812: ERROR:  insert or update on table \"productreview\" violates foreign key constraint \"FK_Product\"\nDETAIL:  Key (productid)=(709) is not present in table \"product\".",
    },
    Case {
        report: "golang-migrate; the address is that of pressly/goose#811",
        said: "error: migration failed: syntax error at or near \"NULL\" in line 0: ALTER TABLE a (details: pq: postgres://dbuser:password1@localhost:5433/testdb)\n",
        kept: "error: migration failed: syntax error at or near \"NULL\" in line 0: ALTER TABLE a (details: pq: postgres://***@localhost:5433/testdb)",
    },
];

#[test]
fn of_what_tools_print_the_error_is_kept() {
    let cases = RUBY
        .iter()
        .chain(&PYTHON)
        .chain(&JAVA)
        .chain(&JAVASCRIPT)
        .chain(&OTHERS);
    for Case { report, said, kept } in cases {
        assert_eq!(essence(said), *kept, "{report}");
        // What is kept is read again, for the sentence.
        let lines: Vec<&str> = kept.lines().map(str::trim).collect();
        assert_eq!(in_a_sentence(kept), lines.join(" | "), "{report}");
    }
}

#[test]
fn where_no_line_names_an_error_the_last_ones_are_kept() {
    let said = "one\ntwo\n\nthree\nfour\n";
    assert_eq!(essence(said), "one\ntwo\nthree\nfour");
    assert_eq!(in_a_sentence(&essence(said)), "two | three | four");
    assert_eq!(essence(""), "");
    assert_eq!(in_a_sentence(""), "");
    let succeeded = "0 ERRORS\ndone\npassword=x";
    assert_eq!(last(succeeded), "0 ERRORS\ndone\npassword=***");
}

#[test]
fn the_oldest_that_is_no_error_is_dropped_first() {
    let rows: Vec<String> = (0..80)
        .map(|row| format!("  row {row} of the ärgerlich long statement"))
        .collect();
    let said = format!(
        "begin\nERROR: no such column\n{}\nHINT: the last",
        rows.join("\n")
    );
    let kept = essence(&said);
    assert!(kept.len() <= KEPT && kept.len() > KEPT - 100, "{}", kept.len());
    assert!(
        kept.starts_with("ERROR: no such column\n  row ") && kept.ends_with("\nHINT: the last"),
        "{kept}"
    );
    let spoken = in_a_sentence(&kept);
    assert!(
        spoken.len() <= SPOKEN && spoken.starts_with("ERROR: no such column | row "),
        "{spoken}"
    );
}

#[test]
fn of_a_long_line_the_beginning_is_kept() {
    let said = format!("ERROR: {}", "ä".repeat(2000));
    assert_eq!(essence(&said).len(), KEPT - 1);
    let said = format!("{said}\nDETAIL: the key");
    assert!(essence(&said).ends_with("ää\nDETAIL: the key"));
}

/// The kubelet cuts a log at its limit, in the middle of a line, and perhaps of an address.
#[test]
fn a_first_line_that_may_be_cut_is_left_out() {
    let said = format!("hunter2@db/shop\nERROR: no\n{}", "x".repeat(2048 - 26));
    assert_eq!(said.len(), 2048);
    assert!(essence(&said).starts_with("ERROR: no\n"));
}

proptest! {
    /// Whatever a task says, what is kept has its bounds, and is a text that the schema of the status admits.
    #[test]
    fn anything_can_be_said(said in "([ -~äß\u{1b}\n]{0,40}(ERROR: |password=|://|'|\n  at |@)){0,60}") {
        let kept = essence(&said);
        prop_assert!(kept.len() <= KEPT);
        prop_assert!(in_a_sentence(&kept).len() <= SPOKEN);
        prop_assert!(last(&said).len() <= KEPT);
    }
}
