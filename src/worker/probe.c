#include "worker/probe.h"

#include <stdarg.h>
#include <stdio.h>

#include "vmm/kvm.h"

#define SEND_MS 10000

static const char *const need_names[] = {
	[PROBE_FOR_PAYLOADS] = "payloads",
	[PROBE_FOR_LINUX] = "linux_userland",
	[PROBE_FOR_DISKS] = "disks",
	[PROBE_OPTIONAL] = "optional",
};

void probe_say(struct probe_finding *finding, enum probe_verdict verdict, const char *format, ...)
{
	va_list arguments;

	finding->verdict = verdict;
	va_start(arguments, format);
	vsnprintf(finding->detail, sizeof(finding->detail), format, arguments);
	va_end(arguments);
}

/* What holds so far; indexed by enum probe_need. */
struct abilities {
	bool can[PROBE_OPTIONAL + 1];
};

static json_t *run_check(const struct probe_check *check, int kvm_fd, bool possible,
			 struct abilities *abilities)
{
	struct probe_finding finding = {PROBE_OK, ""};
	json_t *json;

	if (!possible)
		probe_say(&finding, PROBE_NOT_HERE, "not tried: no /dev/kvm");
	else
		check->run(kvm_fd, &finding);
	if (finding.verdict == PROBE_FAILED)
		abilities->can[check->need] = false;
	json = json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", check->name, "title", check->title,
			 "needed_for", need_names[check->need], "detail", finding.detail, "remedy",
			 finding.verdict == PROBE_FAILED ? check->remedy : "");
	json_object_set_new(json, "ok",
			    finding.verdict == PROBE_NOT_HERE
				    ? json_null()
				    : json_boolean(finding.verdict == PROBE_OK));
	return json;
}

static json_t *run_checks(int kvm_fd, const char *kvm_error)
{
	struct abilities abilities = {{true, true, true, true}};
	json_t *checks = json_array();
	bool payloads;

	if (kvm_fd < 0)
		abilities.can[PROBE_FOR_PAYLOADS] = false;
	for (const struct probe_check *check = probe_kvm_checks; check->name; check++)
		json_array_append_new(checks, run_check(check, kvm_fd, kvm_fd >= 0, &abilities));
	for (const struct probe_check *check = probe_host_checks; check->name; check++)
		json_array_append_new(checks, run_check(check, kvm_fd, true, &abilities));
	payloads = abilities.can[PROBE_FOR_PAYLOADS];
	return json_pack("{s:b, s:b, s:b, s:s, s:o}", "payloads", payloads, "linux_userland",
			 payloads && abilities.can[PROBE_FOR_LINUX], "disks",
			 payloads && abilities.can[PROBE_FOR_DISKS], "kvm_error", kvm_error,
			 "checks", checks);
}

int probe_serve(struct json_link *link)
{
	struct error err = {""};
	json_t *message;
	json_t *answer;
	int kvm_fd;
	int r;

	if (json_link_wait(link, -1, &message) < 0)
		return 1;
	json_decref(message);
	kvm_fd = json_link_take_fd(link);
	if (kvm_fd >= 0 && kvm_check_version(kvm_fd, &err))
		kvm_fd = -1;
	answer = run_checks(kvm_fd, err.text);
	r = answer ? json_link_send(link, answer, NULL, 0) : -1;
	if (!r)
		r = json_link_drain(link, SEND_MS);
	json_decref(answer);
	return r ? 1 : 0;
}
