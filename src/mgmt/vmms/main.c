#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/standard_fds.h"
#include "mgmt/vmms/shutdown.h"
#include "mgmt/vmms/vmms.h"

enum { EXIT_OK, EXIT_FAILED, EXIT_WRONG_USAGE };

struct arguments {
	struct vmms_options vmms;
	bool shutdown;
};

static void help(void)
{
	printf("usage: bulkhead-vmms [OPTION]...\n"
	       "Manage the VMs of this host: define, start, watch and stop them.\n"
	       "\n"
	       "  --socket PATH  listen there; by default /run/bulkhead/vmms.sock for root, and\n"
	       "                 $XDG_RUNTIME_DIR/bulkhead/vmms.sock for others\n"
	       "  --state DIR    keep the VMs' definitions there; by default /var/lib/bulkhead "
	       "for\n"
	       "                 root, and $XDG_STATE_HOME/bulkhead or ~/.local/state/bulkhead\n"
	       "  --shutdown     have the daemon at that socket stop all VMs, each as its stop\n"
	       "                 action says, and wait for it: for the host's own shutdown\n"
	       "  --group GROUP  whose members administer the VMs of root's daemon, by name or\n"
	       "                 number; by default bulkhead\n"
	       "  --metrics WHERE  serve figures of all VMs to Prometheus, at unix:PATH,\n"
	       "                 127.0.0.1:PORT or [::1]:PORT\n"
	       "  --no-journal   write audit lines to audit.log in the state directory, even "
	       "where\n"
	       "                 there is a journal\n"
	       "  --help         print this and exit\n"
	       "  --version      print the version and exit\n"
	       "\n"
	       "A signal (SIGTERM, SIGINT) ends the daemon and no VM: the next daemon takes them\n"
	       "over.\n");
}

static int fail(const char *sentence, int code)
{
	fprintf(stderr, "bulkhead-vmms: %s\n", sentence);
	return code;
}

/* The exit code, or -1 to go on. */
static int parse(int argc, char **argv, struct arguments *arguments)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 's'},
		{"state", required_argument, NULL, 'd'},
		{"group", required_argument, NULL, 'g'},
		{"metrics", required_argument, NULL, 'm'},
		{"no-journal", no_argument, NULL, 'j'},
		{"shutdown", no_argument, NULL, 'x'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 's')
			arguments->vmms.socket = optarg;
		else if (option == 'd')
			arguments->vmms.state = optarg;
		else if (option == 'x')
			arguments->shutdown = true;
		else if (option == 'g')
			arguments->vmms.group = optarg;
		else if (option == 'm')
			arguments->vmms.metrics = optarg;
		else if (option == 'j')
			arguments->vmms.no_journal = true;
		else if (option == 'h')
			return help(), EXIT_OK;
		else if (option == 'v')
			return printf("bulkhead-vmms " BULKHEAD_VERSION "\n"), EXIT_OK;
		else
			return fail("an option is unknown or has no value; see --help",
				    EXIT_WRONG_USAGE);
	}
	if (optind < argc)
		return fail("it takes options only; see --help", EXIT_WRONG_USAGE);
	return -1;
}

/* Many clients and VMs take many descriptors: as many as the host allows. */
static void raise_file_limit(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files))
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
}

int main(int argc, char **argv)
{
	struct arguments arguments = {0};
	struct error err = {""};
	struct vmms *vmms;
	int r = standard_fds_open();

	if (r)
		return fail("/dev/null cannot be opened; make it readable", EXIT_FAILED);
	r = parse(argc, argv, &arguments);
	if (r >= 0)
		return r;
	if (arguments.shutdown)
		return shutdown_by_client(arguments.vmms.socket, &err) ? fail(err.text, EXIT_FAILED)
								       : EXIT_OK;
	/* Nothing that we start needs a program's set-user-ID bit, and dnsmasq hears guests. */
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	raise_file_limit();
	if (vmms_open(&arguments.vmms, &vmms, &err))
		return fail(err.text, EXIT_FAILED);
	r = vmms_run(vmms);
	vmms_close(vmms);
	return r ? fail(strerror(-r), EXIT_FAILED) : EXIT_OK;
}
