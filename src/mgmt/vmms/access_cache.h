#pragma once

#include "mgmt/vmms/access_rules.h"

/* Names and their ids for ten seconds, so that a list of VMs asks the host's name service once.
 * Loop thread. */
struct access_cache;

/* names must outlive it; *cached is what to ask from now on, while the cache is there.  -ENOMEM. */
int access_cache_new(const struct access_names *names, struct access_cache **out,
		     struct access_names *cached);
void access_cache_free(struct access_cache *cache);
