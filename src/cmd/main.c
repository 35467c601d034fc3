#include <stdio.h>

int main(void)
{
    puts("gaufre " GAUFRE_VERSION);
    return 0;
}
