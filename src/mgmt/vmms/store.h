#pragma once

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * The definitions of the VMs on disk: DIRECTORY/vms/UUID.json, one each.  A definition is written
 * to a file of its own, which is flushed and then takes the old one's place: whatever happens, the
 * old one is there or the new one.  All block for as long as the disk does; one thread at a time.
 */

#define STORE_FILE_MAX (2u << 20) /* bytes; a definition of everything has less */

struct settings;
struct store;

/*
 * Makes what is missing of the directory, for its owner alone, and locks it: one daemon at a time.
 * -EWOULDBLOCK where another one has it; -errno with err.
 */
int store_open(const char *directory, struct store **out, struct error *err);
/* NULL is allowed. */
void store_close(struct store *store);

/*
 * Reads all, in the order of their UUIDs; each takes over its settings.  What cannot be used (torn,
 * mended wrongly, with the name of another VM) is renamed to UUID.json.broken-N, or stays where
 * that is not possible; what a newer version wrote, or the host does not let us read, stays in any
 * case. set_aside hears of each, of what was set aside earlier and has no definition in its place,
 * and of files that look like definitions but for their names; the others are read all the same.
 * What an interrupted write left is removed.  -errno with err where the directory cannot be read.
 */
int store_load(struct store *store, void (*each)(void *context, struct settings *settings),
	       void (*set_aside)(void *context, const char *sentence), void *context,
	       struct error *err);

/*
 * Both are on the disk when 0 is returned, and have not happened when something else is: -errno
 * with err.  A file that was neither read nor written here is not touched: -EEXIST.  Where the
 * directory is not the one any more that was opened: -ESTALE.  A VM that is not there is removed
 * already.
 */
int store_write(struct store *store, const struct settings *settings, struct error *err);
int store_remove(struct store *store, const char *uuid, struct error *err);

/* What the store does to its directory; each 0 or more, or -1 with errno. */
struct store_calls {
	/* For reading. */
	int (*open)(int directory, const char *name);
	int (*create)(int directory, const char *name);
	ssize_t (*write)(int fd, const void *data, size_t bytes);
	int (*sync)(int fd);
	/* flags as renameat2 has them. */
	int (*rename)(int directory, const char *from, const char *to, unsigned int flags);
	int (*remove)(int directory, const char *name);
};

/* The same as store_open with other calls, which must stay: for tests that let them fail. */
int store_open_with(const char *directory, const struct store_calls *calls, struct store **out,
		    struct error *err);
/* The calls of the host. */
extern const struct store_calls store_host_calls;
