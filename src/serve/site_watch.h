/* What is said of sites outside the configuration: files with a capacity factor, which are read
 * four times a second, files with the hours of their carbon, which are read when they change, and
 * feeds of these by URL. A thread of its own reads them, as disks and services may be slow: nothing
 * waits for it. It runs only while the configuration names any. */
#ifndef SERVE_SITE_WATCH_H
#define SERVE_SITE_WATCH_H

#include "serve/serve.h"

struct server;
struct site_watch;

/* Read all files once, and begin to look at them again and again. Before requests come. */
int site_watch_start(struct server *s, struct err *e);
/* Another configuration is in force: read all of its files now, feeds soon. On the thread of
 * serve_run. */
int site_watch_swap(struct server *s, struct err *e);
void site_watch_stop(struct server *s); /* accepts one that never began */

#endif
