#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* The values of --nic: tap=IF|user|stream=PATH|switch[=NAME][,mac=..][,queues=N]
 * [,bandwidth=BITS][,legacy]. */

#define NIC_MAC_BYTES  6
#define NIC_QUEUES_MAX 16

enum run_nic_kind {
	RUN_NIC_TAP,	/* an interface of the host */
	RUN_NIC_USER,	/* NAT, DHCP and DNS by passt */
	RUN_NIC_STREAM, /* a Unix socket that somebody listens at */
	RUN_NIC_SWITCH, /* a switch of the daemon, which makes a tap on it */
	RUN_NIC_FD,	/* a tap that we were given, a descriptor for each queue */
};

struct run_nic {
	enum run_nic_kind kind;
	char *text;		 /* owned: as the user wrote it */
	char *words;		 /* owned: the same, cut at its commas */
	const char *where;	 /* in words: interface, path or switch; NULL for USER and FD */
	int fds[NIC_QUEUES_MAX]; /* of FD, to be closed by whoever opens the NIC */
	unsigned int fd_count;
	bool has_mac;
	uint8_t mac[NIC_MAC_BYTES];
	unsigned int queues; /* 0: not given */
	uint64_t bandwidth;  /* bits a second, each way; 0: no limit */
	bool legacy;	     /* emulated, for guests without VMBus drivers */
};

/* -EINVAL or -ENOMEM with err; release with nic_options_clear after success. */
int nic_options_parse(const char *value, struct run_nic *nic, struct error *err);
/* The same for a daemon's words, which may be fd=N[:N...] too: open descriptors. */
int nic_options_parse_given(const char *value, struct run_nic *nic, struct error *err);
void nic_options_clear(struct run_nic *nic);

/*
 * Gives each NIC without an address one in Hyper-V's own range, 00:15:5d, that the VM's name and
 * the NIC's number alone decide.  -EINVAL with err where two were given the same.
 */
int nic_options_addresses(struct run_nic *nics, unsigned int count, const char *vm_name,
			  struct error *err);
