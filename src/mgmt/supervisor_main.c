#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/standard_fds.h"
#include "mgmt/exit_record.h"
#include "mgmt/identity.h"
#include "mgmt/message.h"
#include "mgmt/options.h"
#include "mgmt/vm_life.h"

/*
 * bulkhead-supervisor: what `bulkhead run` is, for a VM that a daemon looks after.  The daemon
 * starts it with the VM's listening socket and may die, be replaced, or stay: neither the VM nor
 * its supervisor takes note.
 */

#define TELL_MS	 1000 /* how long a reader of standard error may take */
#define PULSE_MS 2000
#define FIRST_FD 3

/* Everything of one supervisor.  It is too large for the smaller stacks. */
struct managed {
	int listen_fd;
	int record_fd; /* -1 for none */
	int kvm_fd;    /* -1: to be opened */
	int saved_fd;  /* the directory that the VM is saved in; -1: none */
	bool has_owner;
	uid_t owner;
	gid_t group;
	gid_t groups[IDENTITY_GROUPS_MAX]; /* besides that one */
	size_t group_count;
	unsigned int pulse_ms;
	const char *worker_uid; /* NULL: the worker's choice */
	struct run_options options;
	struct supervisor_outcome outcome;
};

static int parse_fd(const char *what, const char *value, int *out, struct error *err)
{
	uint64_t fd;

	if (parse_u64(value, FIRST_FD, INT_MAX, &fd) || fcntl((int)fd, F_GETFD) < 0)
		return error_set(err, EINVAL,
				 "--vmms: %s%.40s is no open descriptor from %d on; pass it on to "
				 "this program",
				 what, value, FIRST_FD);
	*out = (int)fd;
	return 0;
}

static int set_vmms(void *target, const char *value, struct error *err)
{
	struct managed *managed = target;
	char text[64];
	char *rest = text;
	int r;

	if ((size_t)snprintf(text, sizeof(text), "%s", value) >= sizeof(text))
		return error_set(err, EINVAL,
				 "--vmms: give LISTEN_FD[,record=FD][,kvm=FD][,saved=FD]");
	r = parse_fd("", strsep(&rest, ","), &managed->listen_fd, err);
	while (!r && rest) {
		const char *word = strsep(&rest, ",");

		if (!strncmp(word, "record=", 7))
			r = parse_fd("record=", word + 7, &managed->record_fd, err);
		else if (!strncmp(word, "kvm=", 4))
			r = parse_fd("kvm=", word + 4, &managed->kvm_fd, err);
		else if (!strncmp(word, "saved=", 6))
			r = parse_fd("saved=", word + 6, &managed->saved_fd, err);
		else
			r = error_set(err, EINVAL,
				      "--vmms: \"%.40s\" is not record=FD, kvm=FD or saved=FD",
				      word);
	}
	return r;
}

static int parse_id(const char *text, uint32_t *out)
{
	uint64_t id;
	int r = text ? parse_u64(text, 0, UINT32_MAX - 1, &id) : -EINVAL;

	if (!r)
		*out = (uint32_t)id;
	return r;
}

/* Groups are looked up by the daemon: a user database may be slow, or need a program of others. */
static int set_owner(void *target, const char *value, struct error *err)
{
	struct managed *managed = target;
	CLEANUP_FREE char *text = strdup(value);
	char *rest = text;
	int r;

	if (!text)
		return error_memory(err, "the options");
	managed->has_owner = true;
	managed->group_count = 0;
	r = parse_id(strsep(&rest, ":"), &managed->owner);
	if (!r)
		r = parse_id(strsep(&rest, ":"), &managed->group);
	while (!r && rest && managed->group_count < IDENTITY_GROUPS_MAX)
		r = parse_id(strsep(&rest, ":"), &managed->groups[managed->group_count++]);
	if (r || rest)
		return error_set(err, EINVAL,
				 "--owner %.40s: give numbers, UID:GID[:GROUP...], and %d groups "
				 "at most",
				 value, IDENTITY_GROUPS_MAX);
	return 0;
}

static int set_worker_uid(void *target, const char *value, struct error *err)
{
	uint64_t uid;

	if (parse_u64(value, 1, UINT32_MAX - 1, &uid))
		return error_set(err, EINVAL,
				 "--worker-uid %.40s: give the number of a user who is not root",
				 value);
	((struct managed *)target)->worker_uid = value;
	return 0;
}

static int set_pulse(void *target, const char *value, struct error *err)
{
	uint64_t ms;

	if (parse_u64(value, 10, 600000, &ms))
		return error_set(err, EINVAL, "--pulse %.40s: give 10 to 600000 milliseconds",
				 value);
	((struct managed *)target)->pulse_ms = (unsigned int)ms;
	return 0;
}

static const struct option table[] = {
	{"--vmms", "LISTEN_FD[,record=FD][,kvm=FD][,saved=FD]",
	 "the VM's socket, the record of its end, /dev/kvm, and where it is saved", set_vmms},
	{"--owner", "UID:GID[:GROUP...]", "whose the VM is, and whose files it may open",
	 set_owner},
	{"--worker-uid", "UID", "the user that the worker becomes", set_worker_uid},
	{"--pulse", "MS", "how often the worker is asked whether it is still there", set_pulse},
};

/* Ours up to the "--", those of `bulkhead run` behind it. */
static int parse(int argc, char **argv, struct managed *managed, struct error *err)
{
	int count = 1;
	int r;

	while (count < argc && strcmp(argv[count], "--") != 0)
		count++;
	r = options_parse(table, sizeof(table) / sizeof(table[0]), count - 1, argv + 1, NULL,
			  managed, err);
	if (!r && managed->listen_fd < 0)
		r = error_set(err, EINVAL,
			      "--vmms is missing: bulkhead-vmms starts this program; for a VM "
			      "without it there is `bulkhead run`");
	if (r)
		return r;
	return run_options_parse(count < argc ? argc - count - 1 : 0, argv + count + 1, true,
				 &managed->options, err);
}

/* What was passed to us is for nobody that we start; neither do we end with who started us. */
static int stand_alone(struct error *err)
{
	static const int signals[] = {SIGPIPE, SIGXFSZ, SIGINT, SIGHUP, SIGQUIT};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_IGN);
	setsid(); /* who leads one has it already */
	if (close_range(FIRST_FD, UINT_MAX, CLOSE_RANGE_CLOEXEC))
		return error_host(err, errno, "cannot keep descriptors from other programs");
	return 0;
}

static int begun(void *context, struct error *err)
{
	const struct managed *managed = context;

	return managed->has_owner ? identity_become(managed->owner, managed->group, managed->groups,
						    managed->group_count, err)
				  : 0;
}

/* Nobody reads what a daemon's child says but in its journal. */
static void tell(const struct managed *managed, const char *sentence)
{
	char text[8704], clean[8192];

	message_clean(clean, sizeof(clean), sentence, "\n");
	snprintf(text, sizeof(text), "bulkhead: %s%s%s\n", managed->options.name,
		 managed->options.name[0] ? ": " : "", clean);
	message_write(STDERR_FILENO, text, strlen(text), TELL_MS);
}

static void ended(void *context, const struct supervisor_outcome *outcome)
{
	const struct managed *managed = context;
	int r = managed->record_fd < 0 ? 0 : exit_record_write(managed->record_fd, outcome);
	char sentence[128];

	if (outcome->message[0])
		tell(managed, outcome->message);
	if (!r)
		return;
	snprintf(sentence, sizeof(sentence), "the record of its end cannot be written: %s",
		 strerror(-r));
	tell(managed, sentence);
}

/* No guest ran. */
static int fail(struct managed *managed, int code, const char *reason, const struct error *err)
{
	managed->outcome = (struct supervisor_outcome){.code = code};
	snprintf(managed->outcome.reason, sizeof(managed->outcome.reason), "%s", reason);
	snprintf(managed->outcome.message, sizeof(managed->outcome.message), "%s", err->text);
	ended(managed, &managed->outcome);
	return code;
}

static int live(int argc, char **argv, struct managed *managed)
{
	struct error err = {""};
	struct vm_life_given given;

	if (stand_alone(&err))
		return fail(managed, EXIT_VMM_ERROR, PROTOCOL_END_FAILED, &err);
	if (parse(argc, argv, managed, &err))
		return fail(managed, EXIT_USAGE, PROTOCOL_END_USAGE, &err);
	given = (struct vm_life_given){
		.managed = true,
		.listen_fd = managed->listen_fd,
		.kvm_fd = managed->kvm_fd,
		.saved_directory = managed->saved_fd,
		.pulse_ms = managed->pulse_ms,
		.uid = managed->worker_uid,
		.begun = begun,
		.ended = ended,
		.context = managed,
	};
	if (stand_alone(&err) || vm_life_run(&managed->options, &given, &managed->outcome, &err))
		return fail(managed, EXIT_VMM_ERROR, PROTOCOL_END_FAILED, &err);
	return managed->outcome.code;
}

int main(int argc, char **argv)
{
	struct managed *managed;
	int code;

	if (standard_fds_open())
		return EXIT_VMM_ERROR;
	managed = calloc(1, sizeof(*managed));
	if (!managed)
		return EXIT_VMM_ERROR;
	managed->listen_fd = managed->record_fd = managed->kvm_fd = -1;
	managed->saved_fd = -1;
	managed->pulse_ms = PULSE_MS;
	code = live(argc, argv, managed);
	run_options_clear(&managed->options);
	free(managed);
	return code;
}
