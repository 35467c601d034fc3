/* What the control group of this process allows, version 1 and 2. A limit of any group above holds
 * too, so all of them are read, from that of this process to the root. Any thread. */
#ifndef BASE_CGROUP_H
#define BASE_CGROUP_H

/* Calls `see` with the folder of each group that has that file, and with its text (at most 127
 * bytes). root: "" or a folder that holds proc and sys, for tests; mount: "/sys/fs/cgroup";
 * controller: of version 1, "" for version 2. In a container that does not show the groups above
 * it, the root that it sees is read. */
void cgroup_each(const char *root, const char *mount, const char *controller, const char *file,
                 void (*see)(const char *folder, const char *text, void *arg), void *arg);

#endif
