/* The address of a service or a proxy: http or https URLs, strictly. Pure functions.
 *
 * Hosts are names of ASCII letters, digits and -._~, IPv4 addresses, or IPv6 addresses in brackets.
 * Nothing is decoded but user and password. */
#ifndef NET_URL_H
#define NET_URL_H

#include <stddef.h>

#define URL_HOST_MAX 256
#define URL_USER_MAX 512

struct url {
    int is_tls; /* https */
    int port;
    int is_default_port;
    int is_address;          /* the host is an IP address */
    char host[URL_HOST_MAX]; /* without brackets */
    int is_bracketed;        /* an IPv6 address */
    const char *path;        /* in the text: what follows the authority, "" or "/..." */
    char user[URL_USER_MAX]; /* "name:password", decoded; "" where none is given */
};

#define URL_MAX 2048

/* 0 or ERR_FORMAT. Query and fragment are refused. */
int url_parse(const char *text, struct url *ret);
/* "host", or "host:port" where the port is not the scheme's own or is asked for. */
#define URL_AUTHORITY_MAX (URL_HOST_MAX + 16)
void url_authority(const struct url *u, int with_port, char out[URL_AUTHORITY_MAX]);

#endif
