#pragma once

#include "base/error.h"

#define NBD_NAME_MAX 4096 /* of an export, as the protocol has it */

/* What a URI means, percent signs decoded. */
struct nbd_place {
	char server[256]; /* or "", and then a socket */
	char port[8];
	char path[108];
	char export[NBD_NAME_MAX + 1];
};

/* nbd://HOST[:PORT][/EXPORT] or nbd+unix:///[EXPORT]?socket=PATH.  -EINVAL with a sentence's end.
 */
int nbd_place_parse(const char *uri, struct nbd_place *place, struct error *err);

/* A connected socket; -errno with a sentence's end.  Waits seconds at most for each address. */
int nbd_place_connect(const struct nbd_place *place, unsigned int seconds, struct error *err);
