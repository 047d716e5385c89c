#include <stdio.h>
#include <string.h>

#include "mgmt/command.h"
#include "mgmt/doctor_findings.h"
#include "mgmt/options.h"
#include "worker/protocol.h"

void command_doctor_text(FILE *stream)
{
	fprintf(stream,
		"--json prints one object:\n"
		"  payloads        whether small test kernels can run\n"
		"  linux_userland  whether an ordinary Linux system can run\n"
		"  disks           whether VMs can have disks\n"
		"  kvm             {ok, detail}: whether /dev/kvm can be opened and is KVM\n"
		"  checks          [{name, title, needed_for, ok, detail, remedy}]; needed_for is\n"
		"                  one of the above or \"optional\", ok is null where it was\n"
		"                  not tried\n"
		"\nExit code: 0 if VMs can run at all, 1 if not.\n");
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static void print_check(const char *title, const json_t *ok, const char *detail, const char *remedy)
{
	const char *mark = "no";

	if (json_is_null(ok))
		mark = "-";
	else if (json_is_true(ok))
		mark = "yes";
	printf("  %-3s  %-40s  %s\n", mark, title, detail);
	if (remedy[0])
		printf("       %-40s  to do: %s\n", "", remedy);
}

static void print_group(const json_t *findings, const char *need, const char *heading)
{
	json_t *checks = json_object_get(findings, "checks");
	const char *last_remedy = "";
	json_t *check;
	size_t index;

	printf("%s\n", heading);
	json_array_foreach(checks, index, check)
	{
		const char *remedy = text_of(check, "remedy");

		if (strcmp(text_of(check, "needed_for"), need))
			continue;
		print_check(text_of(check, "title"), json_object_get(check, "ok"),
			    text_of(check, "detail"), strcmp(remedy, last_remedy) ? remedy : "");
		if (remedy[0])
			last_remedy = remedy;
	}
}

static void print_report(const json_t *findings)
{
	const json_t *kvm = json_object_get(findings, "kvm");

	printf("To run anything\n");
	print_check("/dev/kvm is usable", json_object_get(kvm, "ok"), text_of(kvm, "detail"), "");
	print_group(findings, "payloads", "To run test payloads");
	print_group(findings, "linux_userland", "To run Linux");
	print_group(findings, "disks", "To have disks");
	print_group(findings, "optional", "Good to have");
	if (!json_is_true(json_object_get(kvm, "ok"))) {
		printf("\nNo VM can run without a usable /dev/kvm.\n");
		return;
	}
	printf("\nTest payloads: %s.  Linux: %s.  Disks: %s.\n",
	       json_is_true(json_object_get(findings, "payloads")) ? "yes" : "no",
	       json_is_true(json_object_get(findings, "linux_userland")) ? "yes" : "no",
	       json_is_true(json_object_get(findings, "disks")) ? "yes" : "no");
}

static int set_json(void *target, const char *value, struct error *err)
{
	*(bool *)target = true;
	return 0;
}

static const struct option doctor_options[] = {{"--json", NULL, "print JSON", set_json}};

const struct option_set command_doctor_options = OPTION_SET(doctor_options);

int command_doctor(int argc, char **argv)
{
	struct error err;
	json_t *findings;
	bool json = false;
	bool usable;

	if (options_parse_set(&command_doctor_options, argc, argv, NULL, &json, &err))
		return command_fail(err.text, EXIT_USAGE, json);
	if (doctor_findings(&findings, &err))
		return command_fail(err.text, EXIT_VMM_ERROR, json);
	usable = json_is_true(json_object_get(findings, "payloads"));
	if (json) {
		json_dumpf(findings, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_report(findings);
	}
	json_decref(findings);
	return usable ? 0 : EXIT_VMM_ERROR;
}
