#include "kc.h"

int kc_bench(int argc, char **argv)
{
    return 0;
}
