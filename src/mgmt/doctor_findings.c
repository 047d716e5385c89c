#include "mgmt/doctor_findings.h"

#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "mgmt/vm_files.h"
#include "mgmt/worker_spawn.h"

#define PROBE_TIMEOUT_MS 120000

static int ask_worker(int kvm_fd, json_t **findings, struct error *err)
{
	static const char *const arguments[] = {"--probe", NULL};
	struct spawned_worker worker;
	char path[PATH_MAX];
	json_t *question;
	int r = worker_find(path, sizeof(path), err);

	if (!r)
		r = spawn_worker(path, arguments, &worker, err);
	if (r)
		return r;
	question = kvm_fd >= 0 ? json_pack("{s:i}", "kvm_fd", 0) : json_object();
	r = json_link_send(worker.link, question, &kvm_fd, kvm_fd >= 0 ? 1 : 0);
	json_decref(question);
	if (!r)
		r = json_link_wait(worker.link, PROBE_TIMEOUT_MS, findings);
	spawned_worker_wait(&worker);
	if (r < 0)
		return error_set(err, -r, "%.200s gave no answer to the probe: %s; %s", path,
				 strerror(-r), worker_remedy());
	return 0;
}

/* What we saw of /dev/kvm, or what the worker did once it was open. */
static void add_kvm(json_t *findings, bool opened, const char *detail)
{
	const char *refusal = json_string_value(json_object_get(findings, "kvm_error"));

	if (opened && refusal && refusal[0]) {
		opened = false;
		detail = refusal;
	}
	json_object_set_new(findings, "kvm",
			    json_pack("{s:b, s:s}", "ok", opened, "detail", detail));
	json_object_del(findings, "kvm_error");
}

int doctor_findings(json_t **findings, struct error *err)
{
	struct error no_kvm = {"opened, and KVM answers"};
	CLEANUP_CLOSE int kvm_fd = vm_files_open_kvm(&no_kvm);
	int r = ask_worker(kvm_fd, findings, err);

	if (!r)
		add_kvm(*findings, kvm_fd >= 0, no_kvm.text);
	return r;
}
