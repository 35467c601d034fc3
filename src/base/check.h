/* Assertions that stay on in production, for contracts at room borders: a breach is a bug in
 * gaufre, never the fault of a request, and continuing would be worse than stopping. */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

__attribute__((noreturn, cold)) void check_failed(const char *file, int line, const char *what);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (__builtin_expect(!(x), 0))                                                             \
            check_failed(__FILE__, __LINE__, #x);                                                  \
    } while (0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
