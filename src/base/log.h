/* Structured log: one line an event on stderr or in a file, `key=value` or JSON. Level, form and
 * place are the process's (set once at start). Only cmd, serve and cloud log; lower rooms return
 * errors. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF };

void log_setup(enum log_level min, int json);
int log_enabled(enum log_level level);
/* From now on lines go to the end of this file, made with mode 0640 where it is missing; "": to
 * stderr. Either may be cut to nothing by others while it is written (logrotate's copytruncate).
 * ERR_IO, ERR_ARG (no file that one can write to its end), ERR_LIMIT (a path too long); then lines
 * go where they went. At the start. */
int log_open(const char *path, struct err *e);
/* Open the file of log_open anew, as it may have been renamed: a line that is written meanwhile is
 * whole in the old file or in the new one. ERR_* as above. One thread at a time. */
int log_reopen(struct err *e);

/* One field of a line; make them with the macros below. */
struct log_field {
    const char *key;
    enum { LOG_F_STR, LOG_F_INT, LOG_F_REAL } kind;
    const char *s;
    long long i;
    double d;
};
#define LOG_STR(k, v)  ((struct log_field){.key = (k), .kind = LOG_F_STR, .s = (v)})
#define LOG_INT(k, v)  ((struct log_field){.key = (k), .kind = LOG_F_INT, .i = (long long)(v)})
#define LOG_REAL(k, v) ((struct log_field){.key = (k), .kind = LOG_F_REAL, .d = (v)})

/* Any thread; a line is written with one write(2), at most 8 KiB: the value that does not fit is
 * cut, later ones are left out. Whatever the values hold, it is one line, harmless to a terminal,
 * and in JSON valid JSON in UTF-8. */
void log_fields(enum log_level level, const char *event, const struct log_field *f, int n);
#define LOG_EVENT(level, event, ...)                                                               \
    do {                                                                                           \
        if (log_enabled(level)) {                                                                  \
            const struct log_field log_f_[] = {__VA_ARGS__};                                       \
            log_fields(level, event, log_f_, (int)(sizeof log_f_ / sizeof log_f_[0]));             \
        }                                                                                          \
    } while (0)
/* Log a sentence instead of an event with fields. */
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
