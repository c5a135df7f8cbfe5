/* time: see time.h. */
#include "wire/time.h"

/* What is left of the text; ok is false once something did not fit. */
typedef struct scan_s {
  tinker__str_t left;
  bool ok;
} scan_t;

static char first(const scan_t *s) {
  return s->left.len ? s->left.ptr[0] : 0;
}

static void skip(scan_t *s) {
  s->left.ptr++;
  s->left.len--;
}

/* Skips one of the characters. */
static void take(scan_t *s, char a, char b) {
  s->ok = s->ok && s->left.len && (first(s) == a || first(s) == b);
  if (s->ok) skip(s);
}

static int digit(scan_t *s) {
  int d = first(s) - '0';
  s->ok = s->ok && s->left.len && d >= 0 && d <= 9;
  if (s->ok) skip(s);
  return s->ok ? d : 0;
}

/* A number of exactly so many digits. */
static int number(scan_t *s, int digits, int least, int most) {
  int n = 0;
  while (digits--) n = n * 10 + digit(s);
  s->ok = s->ok && n >= least && n <= most;
  return n;
}

static int days_of(int year, int month) {
  static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return month == 2 && leap ? 29 : days[month - 1];
}

/* Days from 1970-01-01 to the first of a year, by the Gregorian calendar. */
static int64_t days_before(int year) {
  int64_t y = year - 1;
  return y * 365 + y / 4 - y / 100 + y / 400 - 719162;
}

static int64_t read_date(scan_t *s) {
  int year = number(s, 4, 1, 9999);
  take(s, '-', '-');
  int month = number(s, 2, 1, 12);
  take(s, '-', '-');
  int day = number(s, 2, 1, 31);
  if (!s->ok) return 0;
  s->ok = day <= days_of(year, month);
  int64_t days = days_before(year) + day - 1;
  for (int m = 1; m < month; m++) days += days_of(year, m);
  return days;
}

/* A leap second is the first one after it. */
static int64_t read_clock(scan_t *s) {
  int hour = number(s, 2, 0, 23);
  take(s, ':', ':');
  int minute = number(s, 2, 0, 59);
  take(s, ':', ':');
  int second = number(s, 2, 0, 60);
  return (int64_t)(hour * 60 + minute) * 60 + second;
}

static int64_t read_fraction(scan_t *s) {
  int64_t ms = 0, unit = 100;
  if (first(s) != '.' && first(s) != ',') return 0;
  skip(s);
  do {
    ms += digit(s) * unit;
    unit /= 10;
  } while (first(s) >= '0' && first(s) <= '9');
  return ms;
}

/* In seconds: "Z", "+02:00", "+0200", "+02" or nothing. */
static int64_t read_offset(scan_t *s) {
  char sign = first(s);
  if (!s->left.len) return 0;
  if (sign == 'Z' || sign == 'z') {
    skip(s);
    return 0;
  }
  take(s, '+', '-');
  int64_t seconds = (int64_t)number(s, 2, 0, 23) * 3600;
  if (first(s) == ':') skip(s);
  if (s->left.len) seconds += number(s, 2, 0, 59) * 60;
  return sign == '-' ? -seconds : seconds;
}

bool tinker__time_read(tinker__str_t text, int64_t *ms) {
  scan_t s = {text, true};
  int64_t seconds = read_date(&s) * 86400;
  take(&s, 'T', ' ');
  seconds += read_clock(&s);
  int64_t fraction = s.ok ? read_fraction(&s) : 0;
  if (s.ok) seconds -= read_offset(&s);
  if (!s.ok || s.left.len) return false;
  *ms = seconds * 1000 + fraction;
  return true;
}
