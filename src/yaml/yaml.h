/* yaml: reads a YAML file into a struct, by a table (schema.h).
 *
 * Nothing is guessed: what the table does not know, has another type, lacks its
 * unit or is out of range is a fault with line, column and key. All faults of a
 * file are found, up to a limit; only a mistake in the syntax ends the reading.
 * Anchors, aliases, tags, merge keys and several documents are refused by name:
 * a file means what stands in it. Libyaml reads the syntax and takes its memory
 * from the C library; all else is from the caller's mem. No global state;
 * any thread, one at a time for one tinker__yaml_t. */
#ifndef TINKER_YAML_YAML_H
#define TINKER_YAML_YAML_H

#include "base/buf.h"
#include "yaml/schema.h"

#define TINKER__YAML_MAX_BYTES ((size_t)1 << 20)
#define TINKER__YAML_MAX_DEPTH 32
#define TINKER__YAML_MAX_VALUES 10000
#define TINKER__YAML_MAX_FAULTS 20 /* more are counted, not described */

/* What was read: the faults, and the texts that the struct points to. */
typedef struct tinker__yaml_s tinker__yaml_t;

/* Sets the defaults of the table in `into`, then what stands in text. file is
 * what the faults call it; text and file need not outlive the call. 0, or
 * TINKER_EFORMAT when there are faults: then `into` has what could be read. In
 * both cases *out is the caller's until tinker__yaml_free. TINKER_ENOMEM: there
 * is no *out. */
int tinker__yaml_read(tinker__yaml_t **out, tinker__mem_t *mem,
                      tinker__str_t text, const char *file,
                      const tinker__yaml_field_t *table, void *into);
/* y may be NULL. The texts of the struct end with it. */
void tinker__yaml_free(tinker__yaml_t *y);

/* For checks beyond the table. path: "a.b", "runs[2].a". True when the file
 * has it. */
bool tinker__yaml_has(const tinker__yaml_t *y, const char *path);
/* True when there is a fault of it, of what is around it or inside of it: the
 * struct may have the default instead of what the file wanted to say. */
bool tinker__yaml_faulty(const tinker__yaml_t *y, const char *path);
/* Adds a fault at path, or at what is around it where the file lacks it. */
void tinker__yaml_fault(tinker__yaml_t *y, const char *path, const char *fmt,
                        ...) __attribute__((format(printf, 3, 4)));

/* 0, TINKER_EFORMAT with faults, TINKER_ENOMEM when a fault had no room. */
int tinker__yaml_error(const tinker__yaml_t *y);
size_t tinker__yaml_faults(const tinker__yaml_t *y);
/* One line for each fault, in the order of the file:
 * "FILE:LINE:COLUMN: key 'a.b': what is wrong, what is allowed". */
void tinker__yaml_report(const tinker__yaml_t *y, tinker__buf_t *out);

/* Writes the struct as YAML that reads back to the same struct. With `but`
 * (another struct of the same table, or NULL) a key that is the same there is
 * left out. */
void tinker__yaml_print(tinker__buf_t *out, const tinker__yaml_field_t *table,
                        const void *from, const void *but);

/* The same on one line, of the keys that `keep` wants ("a.b") and those that
 * must be set, without lists. */
void tinker__yaml_print_line(tinker__buf_t *out,
                             const tinker__yaml_field_t *table,
                             const void *from,
                             bool (*keep)(void *user, const char *path),
                             void *user);

/* Writes the rows of a Markdown table: key, kind, default, allowed, meaning.
 * HERE rows of a list item are left out: they are described where they belong.
 * path: what stands before each key, "" at the top. */
void tinker__yaml_reference(tinker__buf_t *out,
                            const tinker__yaml_field_t *table,
                            const char *path);

#endif
