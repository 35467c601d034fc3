/* A progress bar on stderr: drawn at most ten times a second, only when stderr is a terminal, so
 * that logs and pipes stay clean. One thread. */
#ifndef CMD_PROGRESS_H
#define CMD_PROGRESS_H

#include <stdint.h>

enum progress_unit { PROGRESS_BYTES, PROGRESS_COUNT };

struct progress {
    const char *label; /* the caller's, lives as long as the bar */
    enum progress_unit unit;
    uint64_t total; /* 0: unknown */
    uint64_t first; /* done before we began (a resumed transfer); not in the rate */
    uint64_t done;
    int64_t started_us, drawn_us;
    int quiet;
};

/* `first`: what was already there. */
void progress_start(struct progress *p, const char *label, enum progress_unit unit, uint64_t total,
                    uint64_t first);
void progress_set(struct progress *p, uint64_t done);
/* Draw the last state and end the line; `clear` wipes the line instead. */
void progress_stop(struct progress *p, int clear);

/* The text of a bar as it would be drawn `now_us` after the start, for any width >= 20; pure. */
void progress_text(const struct progress *p, int64_t elapsed_us, int width, char *out, int cap);

#endif
