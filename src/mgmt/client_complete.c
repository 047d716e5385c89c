#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "mgmt/client_daemon.h"
#include "mgmt/client_vm.h"
#include "mgmt/command.h"
#include "mgmt/run_options.h"
#include "mgmt/vm_socket.h"

/* bulkhead complete: what a shell offers for a word.  Whatever goes wrong, it offers nothing. */

#define COMPLETE_MS 1000 /* a user waits at the keyboard */
#define SUFFIX	    ".sock"

static void print_names(const json_t *list)
{
	size_t index;
	json_t *item;

	json_array_foreach((json_t *)list, index, item)
	{
		const char *name = guest_text(item, "name");

		if (run_name_valid(name))
			printf("%s\n", name);
	}
}

static json_t *ask(const char *method, const json_t *parameters)
{
	struct error ignored;
	json_t *reply;

	return daemon_call(method, parameters, COMPLETE_MS, &reply, &ignored) ? NULL : reply;
}

static void print_run_name(const char *file)
{
	char name[RUN_NAME_SIZE];
	size_t length = strlen(file);

	if (length <= strlen(SUFFIX) || strcmp(file + length - strlen(SUFFIX), SUFFIX) != 0 ||
	    length - strlen(SUFFIX) >= sizeof(name))
		return;
	snprintf(name, sizeof(name), "%.*s", (int)(length - strlen(SUFFIX)), file);
	if (!vm_socket_is_daemon(name) && run_name_valid(name))
		printf("%s\n", name);
}

/* Those of `bulkhead run`, by their sockets. */
static void print_run_names(void)
{
	CLEANUP_FREE char *path = NULL;
	struct error ignored;
	struct dirent *entry;
	DIR *directory;

	if (vm_socket_path("x", &path, &ignored))
		return;
	*strrchr(path, '/') = '\0';
	directory = opendir(path);
	if (!directory)
		return;
	while ((entry = readdir(directory)))
		print_run_name(entry->d_name);
	closedir(directory);
}

static void print_vms(void)
{
	json_t *reply = ask("ListVMs", NULL);

	print_names(json_object_get(reply, "vms"));
	json_decref(reply);
	print_run_names();
}

/* Disks or NICs of a VM that the daemon keeps. */
static void print_parts(const char *name, const char *kind)
{
	json_t *parameters = json_pack("{s:s}", "vm", name);
	json_t *reply = parameters ? ask("GetVM", parameters) : NULL;
	const json_t *vm = json_object_get(reply, "vm");

	print_names(json_object_get(json_object_get(vm, "settings"), kind));
	json_decref(reply);
	json_decref(parameters);
}

int command_complete(int argc, char **argv)
{
	if (argc == 1 && !strcmp(argv[0], "vms"))
		print_vms();
	else if (argc == 2 && (!strcmp(argv[0], "disks") || !strcmp(argv[0], "nics")))
		print_parts(argv[1], argv[0]);
	return 0;
}
