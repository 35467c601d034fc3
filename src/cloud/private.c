#include "cloud/private.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int private_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    struct stat st;

    if (fd < 0)
        return -1;
    /* Somebody else's file cannot be changed; it may be used all the same. */
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && (st.st_mode & 07))
        (void)!fchmod(fd, 0600);
    return fd;
}
