#include "mgmt/client_vm.h"
#include "mgmt/client_vm_options.h"
#include "mgmt/command.h"
#include "mgmt/guest_verb.h"

/* bulkhead save, vm save and vm discard: VMs whose state is in files. */

/* The supervisor may be in another directory. */
static int make_absolute(struct guest_command *command, struct error *err)
{
	const char *path = guest_text(command->parameters, "directory");
	json_t *absolute;
	int r = vm_options_path(path, &absolute, err);

	if (!r)
		json_object_set_new(command->parameters, "directory", absolute);
	return r;
}

int command_save(int argc, char **argv)
{
	static const struct guest_verb verb = {
		.method = "io.bulkhead.VM.Save",
		.words = {"directory"},
		.missing = "give the NAME of a running VM and a DIRECTORY to be made for it",
		GUEST_OPTIONS(guest_plain_options),
		.timeout_ms = -1,
		.print = guest_print_nothing,
		.complete = make_absolute,
	};

	return guest_verb_run(argc, argv, &verb);
}

int command_vm_save(int argc, char **argv)
{
	static const struct guest_verb verb = {
		VM_VERB("SaveVM", "", guest_plain_options, -1),
		.print = guest_print_nothing,
	};

	return guest_verb_run(argc, argv, &verb);
}

int command_vm_discard(int argc, char **argv)
{
	static const struct guest_verb verb = {VM_PLAIN_VERB("DiscardVM"),
					       .print = guest_print_nothing};

	return guest_verb_run(argc, argv, &verb);
}
