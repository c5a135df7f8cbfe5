/* The state folder: what is not the service's own is neither changed nor
 * deleted, a store that has lost something is refused, a folder of the format
 * before markers is taken over once. */
#include <criterion/criterion.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <tinker/error.h>
#include <unistd.h>

#include "cpu/cpu.h"
#include "rig.h"
#include "state_tools.h"
#include "support/fail_alloc.h"

/* --- A folder with checkpoints -------------------------------------------- */

static rig_t rig;
static reply_t reply;
static char session[80], model[120];
static int seq;

static void save(const char *name) {
  char body[400];
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":%d,\"path\":\"%s\","
           "\"overwrite\":true}",
           model, ++seq, name);
  rig_do(&rig, "POST api/v1/save_weights", body, &reply);
  cr_assert_eq(strstr(reply.text, "\"error\""), NULL, "%s", reply.text);
}

static void open_rig(void) {
  char copy[80];
  rig_open(&rig);
  snprintf(copy, sizeof copy, "%s.copy", rig.dir);
  setenv("D", rig.dir, 1);
  setenv("F", copy, 1);
}

static void open_model(void) {
  open_rig();
  seq = 0;
  rig_session(&rig, session, sizeof session);
  rig_model(&rig, session, 0, model, sizeof model);
}

static int listed(void) {
  int n = 0;
  rig_call(&rig, "GET api/v1/checkpoints", NULL, NULL, "", &reply);
  cr_assert_eq(reply.status, 200);
  for (char *p = reply.text; (p = strstr(p, "\"tinker_path\"")); p++) n++;
  return n;
}

/* Refused, with that in the sentence, and everything is as it was. */
static void refused(const char *what) {
  char why[500], before[STATE_TREE_MAX];
  strcpy(before, state_tree(rig.dir));
  int rc = rig_try_start(&rig, why, sizeof why);
  cr_assert_neq(rc, 0, "started instead of: %s", what);
  cr_assert_neq(strstr(why, what), NULL, "'%s' is not in '%s'", what, why);
  cr_assert_str_eq(before, state_tree(rig.dir), "%s", what);
}

/* --- Somebody else's ------------------------------------------------------ */

Test(state_dir, a_foreign_folder_is_not_touched) {
  static const char *const makes[] = {
      "mkdir -p $D/checkpoints/run1 && echo mine >$D/checkpoints/run1/m.pt",
      "mkdir -p $D/snapshots/2024 && echo mine >$D/snapshots/2024/a.jpg",
      "mkdir -p $D/checkpoints/7 && echo mine >$D/checkpoints/7/m.pt",
      "mkdir -p $D/checkpoints/7.tmp && echo mine >$D/checkpoints/7.tmp/m",
      "echo mine >$D/notes",
      "echo mine >$D/store.db",
      "echo '{\"format\":\"mine\"}' >$D/tinker.json"};
  open_rig();
  rig_stop(&rig);
  for (size_t i = 0; i < sizeof makes / sizeof *makes; i++) {
    char why[500], before[STATE_TREE_MAX];
    state_run("rm -rf $D && mkdir -m 700 $D");
    state_run(makes[i]);
    strcpy(before, state_tree(rig.dir));
    cr_assert_neq(rig_try_start(&rig, why, sizeof why), 0, "%zu", i);
    cr_assert(strstr(why, "name a new or an empty folder") ||
                  strstr(why, "another folder") ||
                  strstr(why, "another program"),
              "%s", why);
    cr_assert_str_eq(before, state_tree(rig.dir), "%zu", i);
  }
  state_run("rm -rf $D && mkdir -m 700 $D");
  rig_start(&rig);
  rig_close(&rig);
}

/* A database of another program, and one that grew tables of the same names. */
Test(state_dir, a_foreign_store_is_not_touched) {
  open_rig();
  rig_stop(&rig);
  state_run("rm -rf $D && mkdir -m 700 $D");
  state_sql(rig.dir, "CREATE TABLE photos(x); INSERT INTO photos VALUES(1);");
  refused("store.db was not made by this service");
  cr_assert_not(state_exists(&rig, "lock"));
  state_sql(rig.dir, "CREATE TABLE sessions(x); CREATE TABLE models(x);"
                     "PRAGMA user_version=2");
  refused("store.db was not made by this service");
  state_run("rm -rf $D && mkdir -m 700 $D");
  rig_start(&rig);
  rig_close(&rig);
}

/* --- A store that is not the newest --------------------------------------- */

Test(state_dir, a_store_that_is_missing_older_or_torn) {
  open_model();
  save("a");
  rig_stop(&rig);
  state_run("cp $D/store.db $D/old");
  rig_start(&rig);
  save("b");
  rig_stop(&rig);
  state_run("cp $D/store.db $D/good");

  state_run("rm $D/store.db $D/mark");
  refused("store.db is missing");
  state_run("cp $D/old $D/store.db");
  refused("older than checkpoints/"); /* without a mark */
  state_run("echo x >$D/store.db");
  refused("store.db");
  state_run(": >$D/store.db");
  refused("store.db is damaged or was replaced");
  state_run("head -c 5000 $D/good >$D/store.db");
  refused("store.db");
  state_run("cp $D/good $D/store.db");
  rig_start(&rig);
  cr_assert_eq(listed(), 2);
  cr_assert_not(state_exists(&rig, "lost"));
  rig_close(&rig);
}

/* No folder shows it: the mark does, and its removal is the way out. */
Test(state_dir, a_store_that_lost_an_acknowledged_call) {
  open_model();
  rig_stop(&rig);
  state_run("cp $D/store.db $D/old");
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  rig_stop(&rig);
  state_run("cp $D/store.db $D/good && cp $D/old $D/store.db");
  refused("it has ");
  state_run("cp $D/mark $D/mark.kept && echo hello >$D/mark");
  refused("mark is damaged");
  state_run("cp $D/mark.kept $D/mark && cp $D/good $D/store.db");
  rig_start(&rig);
  rig_stop(&rig);
  state_run("cp $D/old $D/store.db");
  refused("remove the file mark");
  state_run("rm $D/mark");
  rig_start(&rig);
  rig_close(&rig);
}

/* One bit of the log flips: everything is there, or the start is refused and
 * nothing is changed. */
Test(state_dir, a_flipped_bit_in_the_log_of_the_store) {
  static const char *const names[] = {"a", "b", "c", "d", "e"};
  char path[100];
  struct stat st;
  open_model();
  save("0");
  rig_stop(&rig);
  rig_start(&rig);
  for (int i = 0; i < 5; i++) save(names[i]);
  state_run("rm -rf $F && cp -a $D $F");
  rig_stop(&rig);
  snprintf(path, sizeof path, "%s.copy/store.db-wal", rig.dir);
  cr_assert_eq(stat(path, &st), 0);
  cr_assert_gt(st.st_size, 10000);
  int started = 0, refusals = 0;
  for (int i = 0; i < 40; i++) {
    char why[500], before[STATE_TREE_MAX];
    long at = i == 0 ? 17 : (long)st.st_size * i / 40;
    state_run("rm -rf $D && cp -a $F $D");
    snprintf(path, sizeof path, "%s/store.db-wal", rig.dir);
    FILE *f = fopen(path, "r+");
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
    strcpy(before, state_tree(rig.dir));
    if (rig_try_start(&rig, why, sizeof why) == 0) {
      cr_assert_eq(listed(), 6, "bit at %ld", at);
      rig_stop(&rig);
      started++;
    } else {
      cr_assert(strstr(why, "older than"), "%s", why);
      cr_assert_str_eq(before, state_tree(rig.dir), "bit at %ld", at);
      refusals++;
    }
  }
  cr_assert_gt(refusals, 30, "%d started", started);
  state_run("rm -rf $D && mv $F $D");
  rig_start(&rig);
  cr_assert_eq(listed(), 6);
  rig_close(&rig);
}

/* --- Folders of another store --------------------------------------------- */

Test(state_dir, a_checkpoint_of_another_store) {
  open_model();
  save("a");
  rig_stop(&rig);
  state_run("cp $D/checkpoints/*/tinker.json $D/kept");
  state_run("sed -i 's/\"store\":\"......../\"store\":\"00000000/'"
            " $D/checkpoints/*/tinker.json");
  refused("is not what this service wrote there");
  state_run("rm $D/checkpoints/*/tinker.json");
  refused("is not what this service wrote there");
  state_run("sed 's/\"row\":/\"row\":1/' <$D/kept >$(echo $D/checkpoints/*)/"
            "tinker.json");
  refused("is not what this service wrote there");
  state_run("cp $D/kept $(echo $D/checkpoints/*)/tinker.json");
  rig_start(&rig);
  cr_assert_eq(listed(), 1);
  rig_close(&rig);
}

/* --- What has no row ------------------------------------------------------ */

Test(state_dir, only_what_the_store_gave_up_is_removed) {
  open_model();
  save("a");
  rig_stop(&rig);
  state_run("cp -r $D/checkpoints/* $D/checkpoints/90.tmp");
  state_run("sed -i 's/\"row\":[0-9]*/\"row\":90/'"
            " $D/checkpoints/90.tmp/tinker.json");
  state_run(
      "mkdir $D/checkpoints/92.tmp"
      " && echo half >$D/checkpoints/92.tmp/tinker.json.0123456789abcdef.tmp");
  state_run(
      "mkdir $D/checkpoints/93.tmp && echo whose >$D/checkpoints/93.tmp/f");
  state_run("cp -r $D/checkpoints/90.tmp $D/checkpoints/94.tmp");
  state_run("mkdir $D/checkpoints/91 && echo whose >$D/checkpoints/91/f");
  state_run("echo whose >$D/snapshots/notes; mkdir $D/checkpoints/mine.tmp");
  /* Deleted, and killed before its folder was. */
  state_sql(rig.dir, "DELETE FROM checkpoints");
  rig.logs = true;
  rig_start(&rig);
  cr_assert_eq(listed(), 0);
  cr_assert_eq(rig_count(&rig, "checkpoints", ""), 0);
  cr_assert_eq(rig_count(&rig, "snapshots", ""), 0);
  cr_assert_eq(rig_count(&rig, "lost", ""), 5);
  cr_assert(state_exists(&rig, "lost/checkpoints-91.0/f"));
  cr_assert(state_exists(&rig, "lost/checkpoints-93.tmp.0/f"));
  cr_assert(state_exists(&rig, "lost/checkpoints-94.tmp.0/tinker.json"));
  cr_assert(state_exists(&rig, "lost/snapshots-notes.0"));
  cr_assert(state_exists(&rig, "lost/checkpoints-mine.tmp.0"));
  cr_assert(rig_says(&rig, "lost/checkpoints-91.0"));
  save("b"); /* its number is not one that a folder had */
  state_run("test $(ls $D/checkpoints) -gt 94");
  rig_stop(&rig);
  /* The same again: the names in lost are taken. */
  state_run("mkdir $D/checkpoints/91 && echo 2 >$D/checkpoints/91/f");
  rig_start(&rig);
  cr_assert(state_exists(&rig, "lost/checkpoints-91.0/f"));
  cr_assert(state_exists(&rig, "lost/checkpoints-91.1/f"));
  cr_assert_eq(listed(), 1);
  rig_close(&rig);
}

/* A save that was killed between its name and its row. */
Test(state_dir, a_save_without_its_row) {
  open_model();
  save("a");
  rig_refuse(&rig, "INSERT ON checkpoints");
  char body[300], id[200];
  snprintf(body, sizeof body,
           "{\"model_id\":\"%s\",\"seq_id\":%d,\"path\":\"b\"}", model, ++seq);
  rig_call(&rig, "POST api/v1/save_weights", NULL, NULL, body, &reply);
  rig_member(&reply, "request_id", id, sizeof id);
  while (!atomic_load(&rig.ended)) {
    snprintf(body, sizeof body, "{\"request_id\":\"%s\"}", id);
    rig_call(&rig, "POST api/v1/retrieve_future", NULL, NULL, body, &reply);
  }
  rig_stop(&rig);
  state_sql(rig.dir, "DROP TRIGGER full");
  cr_assert_eq(rig_count(&rig, "checkpoints", ""), 2);
  rig_start(&rig);
  rig_result(&rig, id, &reply); /* executed at this start */
  cr_assert_neq(strstr(reply.text, "weights/b"), NULL, "%s", reply.text);
  cr_assert_eq(rig_count(&rig, "lost", ""), 1);
  cr_assert_eq(rig_count(&rig, "checkpoints", ""), 2);
  cr_assert_eq(listed(), 2);
  rig_close(&rig);
}

/* A link in the place of a folder is not followed. */
Test(state_dir, links_are_not_followed) {
  open_model();
  rig_stop(&rig);
  state_run("mkdir $D.mine && echo precious >$D.mine/f");
  state_run("ln -s $D.mine $D/checkpoints/7.tmp");
  rig_start(&rig);
  rig_stop(&rig);
  state_run("test -s $D.mine/f && rm -r $D.mine");
  cr_assert_eq(rig_count(&rig, "checkpoints", ""), 0);
  rig_start(&rig);
  rig_close(&rig);
}

/* What others keep where <state>/checkpoints leads to stays there. */
Test(state_dir, a_link_to_a_folder_with_more_in_it) {
  open_model();
  save("a");
  rig_stop(&rig);
  state_run("mv $D/checkpoints $D.mine && ln -s $D.mine $D/checkpoints");
  state_run("echo precious >$D.mine/f && mkdir $D.mine/91 $D.mine/92.tmp");
  state_run("echo precious >$D.mine/92.tmp/f");
  rig.logs = true;
  rig_start(&rig);
  cr_assert_eq(listed(), 1);
  cr_assert_not(state_exists(&rig, "lost"));
  cr_assert(rig_says(&rig, "a link leads to it"));
  save("b");
  state_run(
      "test -s $D.mine/f && test -d $D.mine/91 && test -s $D.mine/92.tmp/f");
  state_run("test $(ls -d $D.mine/9[3-9] | wc -l) = 1");
  rig_stop(&rig);
  state_run("rm $D/checkpoints && mv $D.mine $D/checkpoints");
  rig_start(&rig);
  cr_assert_eq(listed(), 2);
  rig_close(&rig);
}

/* A pipe that nobody writes into is not waited for. */
Test(state_dir, pipes_in_the_place_of_files) {
  open_model();
  save("a");
  rig_stop(&rig);
  state_run("mkdir $D/checkpoints/91 && mkfifo $D/checkpoints/91/tinker.json");
  rig_start(&rig);
  cr_assert(state_exists(&rig, "lost/checkpoints-91.0/tinker.json"));
  rig_stop(&rig);
  static const char *const names[] = {"tinker.json", "mark"};
  for (size_t i = 0; i < 2; i++) {
    char why[500];
    setenv("N", names[i], 1);
    state_run("mv $D/$N $D/kept && mkfifo $D/$N");
    cr_assert_neq(rig_try_start(&rig, why, sizeof why), 0);
    cr_assert_neq(strstr(why, "is not a file"), NULL, "%s", why);
    state_run("mv $D/kept $D/$N");
  }
  rig_start(&rig);
  cr_assert_eq(listed(), 1);
  rig_close(&rig);
}

/* A row whose folder somebody took away is reported. */
Test(state_dir, a_missing_checkpoint_is_reported) {
  open_model();
  save("a");
  rig_stop(&rig);
  state_run("rm -r $D/checkpoints/*");
  rig.logs = true;
  rig_start(&rig);
  cr_assert(rig_says(&rig, "folder_missing"));
  rig_close(&rig);
}

static int unreadable_marker(void *user, const char *path, int flags,
                             mode_t mode) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  if (strstr(path, "/checkpoints/") && strstr(path, "tinker.json")) {
    errno = EIO;
    return -1;
  }
  return real->open(real->user, path, flags, mode);
}

/* A disk's trouble with one folder is not everybody's. */
Test(state_dir, a_marker_that_cannot_be_read) {
  open_model();
  save("a");
  rig_stop(&rig);
  rig.logs = true;
  rig.world.open = unreadable_marker;
  rig_start(&rig);
  rig.world.open = tinker__world_real()->open;
  cr_assert(rig_says(&rig, "folder_unreadable"));
  cr_assert_eq(listed(), 1);
  cr_assert_eq(rig_count(&rig, "checkpoints", ""), 1);
  rig_close(&rig);
}

/* --- The format before markers -------------------------------------------- */

static void make_old(void) {
  state_sql(rig.dir,
            "DROP TRIGGER checkpoint_gone; DROP TRIGGER snapshot_gone;"
            "DROP TABLE gone; DROP TABLE store; PRAGMA user_version=2;");
  state_run("rm $D/mark && find $D -name tinker.json -delete");
}

Test(state_dir, the_older_format_is_taken_over_once) {
  open_model();
  save("a");
  save("b");
  rig_stop(&rig);
  make_old();
  state_run("mkdir $D/checkpoints/88 && echo x >$D/checkpoints/88/f");
  refused("checkpoints/88, which its store.db does not know");
  state_run("rm -r $D/checkpoints/88; mkdir $D/checkpoints/89.tmp");
  rig.logs = true;
  rig_start(&rig);
  cr_assert_eq(listed(), 2);
  cr_assert(rig_says(&rig, "\"adopted\""));
  cr_assert_eq(rig_count(&rig, "checkpoints", ""), 2);
  rig_stop(&rig);
  cr_assert(state_exists(&rig, "tinker.json") && state_exists(&rig, "mark"));
  rig.log_len = 0;
  rig.log[0] = 0;
  rig_start(&rig);
  cr_assert_eq(listed(), 2);
  rig_stop(&rig);
  cr_assert_not(rig_said(&rig, "\"adopted\""));
  state_run("rm $D/store.db");
  refused("store.db is missing");
  state_run("rm -r $D/*");
  rig_start(&rig);
  rig_close(&rig);
}

/* Without its marker a folder of today's format is taken over too, but not
 * with a store that its mark says is older. */
Test(state_dir, the_marker_is_gone_and_the_store_is_older) {
  open_model();
  rig_stop(&rig);
  state_run("cp $D/store.db $D/old");
  rig_start(&rig);
  rig_session(&rig, session, sizeof session);
  rig_stop(&rig);
  state_run(
      "cp $D/store.db $D/good && cp $D/old $D/store.db && rm $D/tinker.json");
  refused("older than what was acknowledged");
  state_run("cp $D/good $D/store.db");
  rig_start(&rig);
  cr_assert(state_exists(&rig, "tinker.json"));
  rig_close(&rig);
}

/* Somebody deletes the lock's file because it looks forgotten. */
Test(state_dir, the_lock_outlives_its_file) {
  char why[500];
  tinker__svc_stage_t stage;
  tinker__svc_t *second;
  open_model();
  tinker__svc_config_t config = rig.s->config;
  tinker__svc_model_spec_t m = {
      .name = "m",
      .dir = TINKER_TEST_DIR "/golden/models/qwen3_tied",
  };
  config.models = &m;
  config.doing = NULL;
  state_run("rm $D/lock");
  int rc = tinker__svc_start(&second, &config, &stage, why, sizeof why);
  cr_assert_eq(rc, TINKER_EBUSY, "%s", why);
  cr_assert_eq(stage, TINKER__STAGE_BUSY);
  cr_assert_neq(strstr(why, "in use by another process"), NULL, "%s", why);
  save("a");
  rig_close(&rig);
}

/* --- Starts that are cut short -------------------------------------------- */

/* A process that dies while SQLite makes the file leaves a journal. */
Test(state_dir, a_journal_of_a_first_start) {
  open_rig();
  rig_stop(&rig);
  state_run("rm -rf $D $F && mkdir -m 700 $D $F");
  state_sql(rig.dir, "PRAGMA journal_mode=DELETE; BEGIN IMMEDIATE; COMMIT;");
  char path[200], *error = NULL;
  sqlite3 *db;
  snprintf(path, sizeof path, "%s/store.db", rig.dir);
  cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
  cr_assert_eq(sqlite3_exec(db,
                            "PRAGMA cache_size=1; PRAGMA cache_spill=1;"
                            "CREATE TABLE a(x); DROP TABLE a;"
                            "BEGIN IMMEDIATE; CREATE TABLE b(x);"
                            "INSERT INTO b VALUES(zeroblob(100000));",
                            NULL, NULL, &error),
               SQLITE_OK, "%s", error);
  state_run("cp $D/store.db $D/store.db-journal $F");
  sqlite3_close(db);
  state_run("rm -rf $D && mv $F $D && test -s $D/store.db-journal");
  rig_start(&rig);
  rig_close(&rig);
}

static int opens_left;

static int last_open(void *user, const char *path, int flags, mode_t mode) {
  const tinker__world_t *real = tinker__world_real();
  (void)user;
  return opens_left-- > 0 ? real->open(real->user, path, flags, mode) : -1;
}

/* Wherever the first start ends, or the one that takes a folder over: the next
 * one goes on. */
Test(state_dir, a_start_that_was_cut_short) {
  char why[500];
  open_model();
  save("a");
  rig_stop(&rig);
  for (int old = 0; old < 2; old++) {
    for (int i = 0, rc = 1; rc != 0; i++) {
      if (old && i == 0) make_old();
      if (!old) state_run("rm -rf $D && mkdir -m 700 $D");
      opens_left = i;
      rig.world.open = last_open;
      rc = rig_try_start(&rig, why, sizeof why);
      if (rc == 0) break;
      rig.world.open = tinker__world_real()->open;
      if (!old) rig_start(&rig);
      if (!old) rig_stop(&rig);
    }
    rig.world.open = tinker__world_real()->open;
    if (old) cr_assert_eq(listed(), 1);
    rig_stop(&rig);
    if (!old) {
      rig_start(&rig);
      seq = 0;
      rig_session(&rig, session, sizeof session);
      rig_model(&rig, session, 0, model, sizeof model);
      save("a");
      rig_stop(&rig);
    }
  }
  rig_start(&rig);
  rig_close(&rig);
}

/* --- Memory --------------------------------------------------------------- */

static int no_models(const char *dir, uint64_t *bytes, char *why,
                     size_t why_len) {
  (void)dir;
  (void)bytes;
  return tinker__why(why, why_len, TINKER_ENOTSUP, "as far as the test goes");
}

/* All that a start does before it loads models. */
static int start_without_models(tinker__mem_t *mem, void *user) {
  char why[400];
  tinker__svc_stage_t stage;
  tinker__svc_t *s;
  tinker__svc_model_spec_t m = {
      .name = "m",
      .dir = TINKER_TEST_DIR "/golden/models/qwen3_tied",
  };
  tinker__svc_config_t config = {
      .mem = mem,
      .engine = &rig.api,
      .threads = 1,
      .state_dir = rig.dir,
      .models = &m,
      .n_models = 1,
  };
  if (user) state_run("rm -rf $D && cp -a $F $D");
  if (user) make_old();
  int rc = tinker__svc_start(&s, &config, &stage, why, sizeof why);
  return rc == TINKER_ENOTSUP ? 0 : rc;
}

/* New, marked, and of the older format. */
Test(state_dir, every_allocation_may_fail) {
  open_model();
  save("a");
  rig_stop(&rig);
  state_run("rm -rf $F && cp -a $D $F");
  rig.api.estimate = no_models;
  cr_assert_geq(tinker__fail_sweep(start_without_models, NULL, TINKER_ENOMEM),
                40);
  int old = 1;
  cr_assert_geq(tinker__fail_sweep(start_without_models, &old, TINKER_ENOMEM),
                40);
  state_run("rm -rf $D && mkdir -m 700 $D");
  cr_assert_geq(tinker__fail_sweep(start_without_models, NULL, TINKER_ENOMEM),
                20);
  state_run("rm -rf $D && mv $F $D");
  rig.api.estimate = tinker__cpu_engine()->estimate;
  rig_start(&rig);
  cr_assert_eq(listed(), 1);
  rig_close(&rig);
}
