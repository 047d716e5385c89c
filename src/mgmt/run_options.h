#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/error.h"
#include "mgmt/display_options.h"
#include "mgmt/memory_options.h"
#include "mgmt/nic_options.h"
#include "mgmt/options.h"
#include "mgmt/run_disk.h"
#include "worker/protocol.h"

/* The command line of `bulkhead run`, checked as far as it can be without opening anything. */

#define RUN_NAME_SIZE 64

enum run_console {
	RUN_CONSOLE_STDIO,
	RUN_CONSOLE_NONE,
	RUN_CONSOLE_FILE,
	RUN_CONSOLE_UNIX,
	RUN_CONSOLE_RING, /* the last of it is kept for clients of the VM's socket */
};

/* Strings without "owned" point into argv. */
struct run_options {
	char name[RUN_NAME_SIZE];
	bool named;   /* the name was given */
	bool managed; /* a daemon gave them: what only it may give is allowed */
	unsigned int cpus;
	struct memory_options memory;
	bool generation1;
	bool has_generation;	  /* it was given */
	const char *firmware;	  /* of Generation 1 */
	const char *firmware_log; /* NULL for none */
	const char *restore;	  /* the directory of a saved VM; NULL for none */
	const char *boot_order;	  /* of Generation 1: mgmt/generation1.h */
	unsigned int boot_menu;	  /* seconds that its firmware offers a menu; 0: none */
	const char *kernel;	  /* of Generation 2 */
	const char *initrd;	  /* NULL for none */
	const char *append;
	struct run_disk disks[PROTOCOL_DISKS_MAX];
	unsigned int disk_count;
	unsigned int controllers; /* synthetic ones for storage, the first of them included */
	struct run_nic nics[PROTOCOL_NICS_MAX];
	unsigned int nic_count;
	struct run_display display;
	const char *hvsock_path; /* NULL: no hv_sock */
	json_t *integration;	 /* owned: the device's configuration, NULL for none */
	char *faults;		 /* owned: of the fault mode; NULL: none */
	const char *trace_path;	 /* of the bus; NULL: none */
	const char *pcap_paths[PROTOCOL_NICS_MAX]; /* of each NIC's frames; NULL: none */
	enum run_console console;
	const char *console_path; /* FILE and UNIX */
	const char *vmbus_max_version;
	bool stimer;
	bool has_stimer;      /* it was given, */
	bool has_integration; /* and the services were */
	bool device_tree;
	bool debug_exit;
	bool restart;	      /* --on-reset restart */
	bool pause_when_full; /* --on-full pause */
	bool json;
};

/*
 * -EINVAL, with err naming the flag; release with run_options_clear either way.  managed: they come
 * from a daemon, which may give --console ring (there the default) and --nic fd=.
 */
int run_options_parse(int argc, char **argv, bool managed, struct run_options *options,
		      struct error *err);
void run_options_clear(struct run_options *options);

#define RUN_BOOT_MENU_MAX 60 /* seconds */

/* Debian's SeaBIOS, a Generation 1 VM's firmware where none is named. */
#define RUN_FIRMWARE	 "/usr/share/seabios/bios-256k.bin"
/* The VGA's, of the same package. */
#define RUN_VGA_FIRMWARE "/usr/share/seabios/vgabios-stdvga.bin"

/* The options that say what a VM is, whose target begins with a struct run_options. */
extern const struct option_set run_vm_options;

/* Whether a VM may be called so: letters, digits, '.', '_' and '-', the first a letter or digit. */
bool run_name_valid(const char *name);
