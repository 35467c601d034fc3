/* Files that only their owner may read: the ledger says who asked for what, the keys file is what
 * keys are checked against. */
#ifndef CLOUD_PRIVATE_H
#define CLOUD_PRIVATE_H

/* open(2) with O_CLOEXEC. A file that is made gets mode 0600, whatever the umask; one that others
 * may read, as an open umask leaves it, is tightened to that. A mode set for a group stays. -1 and
 * errno. */
int private_open(const char *path, int flags);

#endif
