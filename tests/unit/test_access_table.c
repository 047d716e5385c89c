#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/varlink.h"
#include "mgmt/vmms/interface.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/request_gate.h"
#include "suite.h"

enum kind {
	READS,	 /* changes nothing */
	CHANGES, /* and leaves a line in the audit log */
};

/* Every method of the interface, and what it takes to call it. */
static const struct {
	const char *name;
	enum access_right right;
	enum kind kind;
} wanted[] = {
	{"ShowHost", ACCESS_CONNECT, READS},
	{"ShutDownHost", ACCESS_ADMINISTER, CHANGES},
	{"CreateVM", ACCESS_ADMINISTER, CHANGES},
	{"ListVMs", ACCESS_CONNECT, READS},
	{"GetVM", ACCESS_CONNECT, READS},
	{"SetVM", ACCESS_ADMINISTER, CHANGES},
	{"RenameVM", ACCESS_ADMINISTER, CHANGES},
	{"RemoveVM", ACCESS_ADMINISTER, CHANGES},
	{"StartVM", ACCESS_OPERATE, CHANGES},
	{"StopVM", ACCESS_OPERATE, CHANGES},
	{"RestartVM", ACCESS_OPERATE, CHANGES},
	{"PauseVM", ACCESS_OPERATE, CHANGES},
	{"ResumeVM", ACCESS_OPERATE, CHANGES},
	{"SaveVM", ACCESS_OPERATE, CHANGES},
	{"DiscardVM", ACCESS_OPERATE, CHANGES},
	{"WaitVM", ACCESS_CONNECT, READS},
	{"WatchEvents", ACCESS_CONNECT, READS},
	{"GetMetrics", ACCESS_ADMINISTER, READS},
	{"MeasureVM", ACCESS_CONNECT, READS},
	{"OpenConsole", ACCESS_OPERATE, CHANGES},
	{"WriteConsole", ACCESS_OPERATE, READS}, /* OpenConsole has left the line */
	{"AttachDisk", ACCESS_ADMINISTER, CHANGES},
	{"DetachDisk", ACCESS_ADMINISTER, CHANGES},
	{"SetDisk", ACCESS_ADMINISTER, CHANGES},
	{"ChangeMedium", ACCESS_ADMINISTER, CHANGES},
	{"AttachController", ACCESS_ADMINISTER, CHANGES},
	{"DetachController", ACCESS_ADMINISTER, CHANGES},
	{"AttachNic", ACCESS_ADMINISTER, CHANGES},
	{"DetachNic", ACCESS_ADMINISTER, CHANGES},
	{"SetNic", ACCESS_ADMINISTER, CHANGES},
	{"Inspect", ACCESS_CONNECT, READS},
	{"Counters", ACCESS_CONNECT, READS},
	{"Nmi", ACCESS_OPERATE, CHANGES},
	{"PowerButton", ACCESS_OPERATE, CHANGES},
	{"Memory", ACCESS_CONNECT, READS},
	{"SetMemory", ACCESS_ADMINISTER, CHANGES},
	{"Services", ACCESS_CONNECT, READS},
	{"GetKvp", ACCESS_CONNECT, READS},
	{"SetKvp", ACCESS_OPERATE, CHANGES},
	{"RemoveKvp", ACCESS_OPERATE, CHANGES},
	{"ListKvp", ACCESS_CONNECT, READS},
	{"GetIp", ACCESS_CONNECT, READS},
	{"SetIp", ACCESS_OPERATE, CHANGES},
	{"Freeze", ACCESS_OPERATE, CHANGES},
	{"Thaw", ACCESS_OPERATE, CHANGES},
	{"CopyFile", ACCESS_OPERATE, CHANGES},
	{"Screenshot", ACCESS_CONNECT, READS},
	{"ReadText", ACCESS_CONNECT, READS},
	{"TypeKeys", ACCESS_OPERATE, CHANGES},
	{"ResetMeasureVM", ACCESS_OPERATE, CHANGES},
	{"Shutdown", ACCESS_OPERATE, CHANGES},
	{"StartTrace", ACCESS_ADMINISTER, CHANGES},
	{"StopTrace", ACCESS_ADMINISTER, CHANGES},
	{"CheckHost", ACCESS_ADMINISTER, READS},
	{"CreateImage", ACCESS_ADMINISTER, CHANGES},
	{"GetImage", ACCESS_ADMINISTER, READS},
	{"CheckImage", ACCESS_ADMINISTER, READS},
	{"ConvertImage", ACCESS_ADMINISTER, CHANGES},
	{"ResizeImage", ACCESS_ADMINISTER, CHANGES},
	{"CompactImage", ACCESS_ADMINISTER, CHANGES},
	{"ShowTrace", ACCESS_ADMINISTER, READS},
};

static int find(const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_LENGTH(wanted); i++) {
		if (strlen(wanted[i].name) == length && !memcmp(wanted[i].name, name, length))
			return (int)i;
	}
	return -1;
}

START_TEST(every_method_of_the_interface_has_its_right)
{
	const char *text = vmms_interface()->interfaces[0].description;
	unsigned int count = 0;

	for (text = strstr(text, "\nmethod "); text; text = strstr(text, "\nmethod ")) {
		text += strlen("\nmethod ");
		count++;
		ck_assert_msg(find(text, strcspn(text, "(")) >= 0, "who may call %.20s?", text);
	}
	ck_assert_uint_eq(count, ARRAY_LENGTH(wanted));
}
END_TEST

START_TEST(every_method_is_behind_the_gate)
{
	const struct varlink_interface *interface = &vmms_interface()->interfaces[0];

	for (size_t i = 0; i < interface->method_count; i++) {
		const struct varlink_method *served = &interface->methods[i];
		const struct vmms_method *method = served->data;
		int found = find(served->name, strlen(served->name));

		ck_assert_msg(found >= 0, "who may call %s?", served->name);
		ck_assert_msg(served->handle == request_begin, "%s has no gate", served->name);
		ck_assert_str_eq(method->name, served->name);
		ck_assert_msg(method->right == wanted[found].right, "the right to %s",
			      served->name);
		ck_assert_msg(method->mutates == (wanted[found].kind == CHANGES),
			      "whether %s leaves a line", served->name);
		ck_assert_msg(!method->may_only_read || !strcmp(method->name, "OpenConsole"), "%s",
			      served->name);
	}
}
END_TEST

/* Whether a method's declaration has a parameter that names files of the host, or describes a VM or
 * a device that does. */
static bool names_files(const char *parameters)
{
	static const char *const signs[] = {"path: ?string",  "path: string",  "source: string",
					    "change: object", "settings: Set", ": Disk",
					    ": Nic"};
	const char *end = strstr(parameters, "->");

	for (size_t i = 0; i < ARRAY_LENGTH(signs); i++) {
		const char *found = strstr(parameters, signs[i]);

		if (found && found < end)
			return true;
	}
	return false;
}

/* Whether its files are opened with the caller's own rights, so that nobody needs to be asked. */
static bool becomes_the_caller(const char *name)
{
	const struct varlink_interface *interface = &vmms_interface()->interfaces[0];

	for (size_t i = 0; i < interface->method_count; i++) {
		const struct vmms_method *method = interface->methods[i].data;

		if (!strcmp(method->name, name))
			return method->handle == method_image ||
			       method->handle == method_show_trace;
	}
	return false;
}

/* One that is added later, too: its files would be opened with the owner's rights unasked. */
START_TEST(every_method_with_files_is_known_to_the_gate)
{
	const char *text = vmms_interface()->interfaces[0].description;
	unsigned int count = 0;
	char name[64];

	for (text = strstr(text, "\nmethod "); text; text = strstr(text, "\nmethod ")) {
		text += strlen("\nmethod ");
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(text, "("), text);
		count += names_files(text);
		ck_assert_msg((request_gate_knows(name) || becomes_the_caller(name)) ==
				      names_files(text),
			      "the files of %s", name);
	}
	ck_assert_uint_ge(count, 13);
}
END_TEST

int main(void)
{
	TCase *tests;
	Suite *suite = suite_of("access_table", &tests);

	tcase_add_test(tests, every_method_of_the_interface_has_its_right);
	tcase_add_test(tests, every_method_is_behind_the_gate);
	tcase_add_test(tests, every_method_with_files_is_known_to_the_gate);
	return suite_run(suite);
}
