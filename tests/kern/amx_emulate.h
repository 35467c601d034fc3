/* The AMX tile instructions, for CPUs that lack them: tests run the machine code of the AMX kernels
 * on every machine. Owns the tiles of each thread and, between start and stop, SIGILL's handler.
 *
 * An instruction that the CPU refuses is decoded where it stands, executed on the calling thread's
 * tiles and stepped over: ldtilecfg, sttilecfg, tilerelease, tilezero, tileloadd, tileloaddt1,
 * tilestored, tdpbf16ps, tdpb{ss,su,us,uu}d. Against the architecture's rules (a tile that is not
 * configured, shapes that do not fit) the process prints what and where, and aborts.
 *
 * Only where all of them are refused. A CPU with tiles executes ldtilecfg, sttilecfg and
 * tilerelease even before the process may use tiles, just their data waits for permission: products
 * would come here whose shapes did not. So start declines where the CPU configures tiles itself.
 *
 * Threads: any may execute tiles; start and stop are for one thread while no other does.
 * Limits: palette 1 (8 tiles of 16 rows of 64 bytes); no start row, no segment or address prefix.
 * A signal costs microseconds, an instruction tenths of one: those that follow another are executed
 * with it. cmocka sets its own handler of SIGILL before each test and fixture: start within the
 * test. */
#ifndef TESTS_AMX_EMULATE_H
#define TESTS_AMX_EMULATE_H

#include <stdint.h>

/* 0, or -1 with errno: EALREADY when started, ENOTSUP where the CPU lacks AVX2 and FMA, EEXIST
 * where it configures tiles itself. The calling thread's tiles are released. Any other illegal
 * instruction goes on to the handler that was there before. */
int amx_emulate_start(void);
/* That handler is back; without a start nothing. Tiles keep what they hold. */
void amx_emulate_stop(void);
/* Instructions executed here so far, by all threads. */
uint64_t amx_emulate_count(void);

#endif
