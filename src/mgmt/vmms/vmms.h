#pragma once

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/unix_socket.h"
#include "mgmt/vmms/vm_table.h"

/* Of clients, on a socket; the share is that of one user. */
#define VMMS_CONNECTIONS_MAX   1024
#define VMMS_CONNECTIONS_SHARE 256
#define VMMS_UNREAD_MAX	       32

struct access;
struct audit;
struct chores;
struct events;
struct figures;
struct metrics_socket;
struct notify;
struct opener;
struct public_socket;
struct resources;
struct store;
struct switches;
struct varlink_server;

/* The management daemon.  Everything runs on one thread, that of its loop, and nothing waits. */
struct vmms {
	struct event_loop *loop;
	struct events *events;
	struct figures *figures;
	struct store *store;
	json_t *unread; /* of files that define no VM, a sentence each: VMMS_UNREAD_MAX at most */
	size_t unread_count;
	struct vm_table table;
	struct list answers; /* struct request: answered, and not yet sent */
	struct varlink_server *varlink;
	struct access *access;
	struct audit *audit;
	struct opener *opener;
	struct chores *chores;
	struct public_socket *public_socket; /* NULL: none */
	struct metrics_socket *metrics;	     /* NULL: none */
	struct unix_listener listener;
	bool activated; /* the listener was there before the daemon */
	struct notify *notify;
	char socket_path[PATH_MAX];
	char state_path[PATH_MAX];
	char runtime_path[PATH_MAX]; /* the directory of the VMs' sockets */
	char boot_id[64];	     /* of this boot of the host */
	json_int_t started_us;	     /* when the daemon did, since 1970 */
	bool rootless;
	struct rlimit files;  /* open ones that it was given, which its children have */
	bool stopping;	      /* the host shuts down: nothing is started */
	unsigned int unknown; /* VMs that were found to run, and have yet to say how they are */
	struct event_source *late; /* who has not said so by then is not waited for */
	struct resources *resources;
	struct switches *switches;
	int signal_fd;
	struct event_source *signal_source;
};

struct vmms_options {
	const char *socket; /* NULL: the default */
	const char *state;
	const char *group;   /* the administrators' */
	const char *metrics; /* where they are served; NULL: nowhere */
	bool no_journal;     /* audit lines go to the state's audit.log */
};

/* Opens what the daemon needs: the store first, the socket last.  -errno with err. */
int vmms_open(const struct vmms_options *options, struct vmms **out, struct error *err);

/* Runs until a signal ends the daemon; 0 or -errno. */
int vmms_run(struct vmms *vmms);

/* Lets VMs run on.  NULL is allowed. */
void vmms_close(struct vmms *vmms);

/* The supervisor of one more VM that was found has said how that is. */
void vmms_vm_known(struct vmms *vmms);

/* A sentence for who reads the daemon's standard error. */
void vmms_tell(const char *sentence);

/* Microseconds since 1970. */
json_int_t vmms_now_us(void);
