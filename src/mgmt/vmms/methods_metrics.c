#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/varlink.h"
#include "mgmt/vmms/figures.h"
#include "mgmt/vmms/methods.h"
#include "mgmt/vmms/metrics.h"
#include "mgmt/vmms/request.h"
#include "mgmt/vmms/vmms.h"

/* A call that waits for the VMs' figures. */
struct asking {
	struct figures_asker asker;
	struct request *request;
};

static void reply_metrics(struct figures_asker *asker)
{
	struct asking *asking = container_of(asker, struct asking, asker);
	struct request *request = asking->request;
	json_t *value = NULL;
	char *text;
	size_t size;

	free(asking);
	if (!metrics_write(request->vmms, &text, &size)) {
		value = json_stringn(text, size);
		free(text);
	}
	if (value)
		request_reply(request, json_pack("{s:o}", "text", value));
	else
		request_fail(request, "Failed", NULL,
			     "there is not enough memory for all figures; free some on the host");
}

void method_get_metrics(struct request *request, struct vm *none)
{
	struct asking *asking = calloc(1, sizeof(*asking));
	int r = -ENOMEM;

	if (asking) {
		asking->asker.done = reply_metrics;
		asking->request = request;
		r = figures_ask(request->vmms->figures, &asking->asker);
	}
	if (!r)
		return;
	free(asking);
	request_fail(request, "Failed", NULL,
		     r == -EBUSY ? "too many ask for metrics at the same time; try again"
				 : "there is not enough memory; free some on the host");
}
