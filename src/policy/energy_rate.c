#include "policy/energy_rate.h"

__extension__ typedef __int128 wide;

int64_t energy_rate_uj(int64_t input_nj, int64_t output_nj, int64_t prompt, int64_t output)
{
    wide nj = (wide)input_nj * prompt + (wide)output_nj * output;

    nj = (nj + 999) / 1000;
    return nj > INT64_MAX ? INT64_MAX : (int64_t)nj;
}
