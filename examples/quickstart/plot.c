/* plot: the loss curve as an SVG file of its own. Pure but for the file. */
#include "quick.h"

enum { WIDTH = 720, HEIGHT = 400 };
enum { LEFT = 60, RIGHT = 20, TOP = 40, BOTTOM = 50 };

typedef struct scale_s {
  double low, high;
  int count;
} scale_t;

static scale_t scale_of(const quick_curve_t *curve) {
  scale_t s = {curve->heldout_after, curve->heldout_before, curve->count};
  for (int i = 0; i < curve->count; i++) {
    s.low = curve->loss[i] < s.low ? curve->loss[i] : s.low;
    s.high = curve->loss[i] > s.high ? curve->loss[i] : s.high;
  }
  s.low = (double)(int)(s.low * 2) / 2; /* down and up to half a nat */
  s.high = (double)((int)(s.high * 2) + 1) / 2;
  return s;
}

static double x_of(const scale_t *s, double step) {
  return LEFT + step / s->count * (WIDTH - LEFT - RIGHT);
}

static double y_of(const scale_t *s, double loss) {
  return TOP + (s->high - loss) / (s->high - s->low) * (HEIGHT - TOP - BOTTOM);
}

static void text(FILE *f, double x, double y, const char *anchor,
                 const char *words) {
  fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y,
          anchor, words);
}

static void axes(FILE *f, const scale_t *s) {
  char label[32];
  for (double v = s->low; v <= s->high + 0.01; v += 0.5) {
    fprintf(f, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>\n", LEFT, y_of(s, v),
            WIDTH - RIGHT);
    snprintf(label, sizeof label, "%.1f", v);
    text(f, LEFT - 8, y_of(s, v) + 4, "end", label);
  }
  for (int i = 0; i <= 4; i++) {
    int step = s->count * i / 4;
    snprintf(label, sizeof label, "%d", step);
    text(f, x_of(s, step), HEIGHT - BOTTOM + 18, "middle", label);
  }
  text(f, WIDTH / 2.0, HEIGHT - 12, "middle", "optimizer step");
  text(f, LEFT, 24, "start",
       "Loss in nats per token: each batch (line), held-out entries (dots)");
}

/* A held-out loss; its number stands above, on the inner side. */
static void dot(FILE *f, const scale_t *s, double step, double loss) {
  char label[32];
  fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>\n", x_of(s, step),
          y_of(s, loss));
  snprintf(label, sizeof label, "%.3f", loss);
  text(f, x_of(s, step) + (step > 0 ? -6 : 6), y_of(s, loss) - 9,
       step > 0 ? "end" : "start", label);
}

void quick_plot(const quick_curve_t *curve, const char *folder) {
  FILE *f = quick_open(folder, "loss.svg", "w");
  scale_t s = scale_of(curve);
  fprintf(f,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
          "height=\"%d\" font-family=\"sans-serif\" font-size=\"12\">\n"
          "<style>.grid{stroke:#ddd}.loss{stroke:#1f6feb;fill:none;"
          "stroke-width:1.5}circle{fill:#d1242f}</style>\n"
          "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
          WIDTH, HEIGHT);
  axes(f, &s);
  fprintf(f, "<path class=\"loss\" d=\"");
  for (int i = 0; i < curve->count; i++) {
    fprintf(f, "%c%.1f %.1f", i ? 'L' : 'M', x_of(&s, i + 1),
            y_of(&s, curve->loss[i]));
  }
  fprintf(f, "\"/>\n");
  dot(f, &s, 0, curve->heldout_before);
  dot(f, &s, curve->count, curve->heldout_after);
  fprintf(f, "</svg>\n");
  if (fclose(f) != 0) quick_die("loss.svg could not be written");
}
