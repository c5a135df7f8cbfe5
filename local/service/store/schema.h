/* schema: the tables of the store. Included by store.c only.
 *
 * The service numbers the rows. A request is a numbered call of a model
 * (owner_kind 0; number 0 is its creation) or a sample of a sampling session
 * (owner_kind 1). Its body is kept until a snapshot of the model makes the
 * replay of it unnecessary.
 *
 * The table store has one row with the id that markers in the state folder
 * repeat, and how many groups were committed. The table gone lists the folders
 * whose row was deleted. Triggers fill it, so no statement can forget to; a
 * start removes these folders and then empties it. */
#ifndef TINKER_SERVICE_SCHEMA_H
#define TINKER_SERVICE_SCHEMA_H

#define TINKER__SCHEMA_VERSION 3

/* The tables and triggers that version 3 added. */
#define TINKER__SCHEMA_3                                                       \
  "CREATE TABLE store("                                                        \
  " one INTEGER PRIMARY KEY CHECK(one = 1), id TEXT NOT NULL,"                 \
  " commits INTEGER NOT NULL);"                                                \
  "INSERT INTO store VALUES(1, lower(hex(randomblob(16))), 0);"                \
  "CREATE TABLE gone(folder TEXT PRIMARY KEY);"                                \
  "CREATE TRIGGER checkpoint_gone AFTER DELETE ON checkpoints BEGIN"           \
  " INSERT OR IGNORE INTO gone VALUES('checkpoints/' || OLD.row); END;"        \
  "CREATE TRIGGER snapshot_gone AFTER UPDATE OF snapshot ON models"            \
  " WHEN OLD.snapshot > 0 AND OLD.snapshot IS NOT NEW.snapshot BEGIN"          \
  " INSERT OR IGNORE INTO gone VALUES('snapshots/' || OLD.snapshot); END;"

static const char schema_sql[] =
    "CREATE TABLE sessions("
    " row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " created_ms INTEGER NOT NULL, idem_key TEXT UNIQUE,"
    " digest BLOB NOT NULL, body BLOB NOT NULL,"
    " ended_ms INTEGER, end_reason TEXT);CREATE TABLE models("
    " row INTEGER PRIMARY KEY, session INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, created_ms INTEGER NOT NULL,"
    " base TEXT NOT NULL, metadata TEXT, rank INTEGER NOT NULL,"
    " seed INTEGER NOT NULL, train INTEGER NOT NULL,"
    " snapshot INTEGER, snapshot_seq INTEGER, broken TEXT,"
    " UNIQUE(session, seq));CREATE TABLE requests("
    " row INTEGER PRIMARY KEY, owner_kind INTEGER NOT NULL,"
    " owner INTEGER NOT NULL, seq INTEGER NOT NULL, kind INTEGER NOT NULL,"
    " digest BLOB NOT NULL, format INTEGER NOT NULL, seed INTEGER NOT NULL,"
    " body BLOB, state INTEGER NOT NULL, result BLOB,"
    " result_format INTEGER, result_digest BLOB,"
    " UNIQUE(owner_kind, owner, seq));CREATE TABLE samplers("
    " row INTEGER PRIMARY KEY, session INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, digest BLOB NOT NULL, base TEXT NOT NULL,"
    " path TEXT, checkpoint INTEGER, UNIQUE(session, seq));"
    "CREATE TABLE checkpoints("
    " row INTEGER PRIMARY KEY, model INTEGER NOT NULL, kind INTEGER NOT NULL,"
    " name TEXT, created_ms INTEGER NOT NULL, size INTEGER NOT NULL,"
    " metadata TEXT, expires_ms INTEGER, pending_grad INTEGER NOT NULL,"
    " public INTEGER NOT NULL DEFAULT 0, UNIQUE(model, kind, name));"
    /* clang-format off */ TINKER__SCHEMA_3 /* clang-format on */;

/* The steps from each version to the next. */
static const char *const schema_steps[] = {
    NULL, /* 0 is an empty file */
    "ALTER TABLE checkpoints ADD COLUMN public INTEGER NOT NULL DEFAULT 0;",
    TINKER__SCHEMA_3};

#endif
