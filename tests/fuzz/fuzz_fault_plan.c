#include <stdlib.h>
#include <string.h>

#include "base/fault_plan.h"
#include "fuzz.h"

/* Faults as a user writes them: what is taken keeps its bounds. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fault_plan plan;
	struct error err;
	char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (fault_plan_parse(text, &plan, &err) == 0) {
		if (plan.count > FAULT_RULES_MAX)
			abort();
		for (unsigned int i = 0; i < plan.count; i++) {
			if (plan.rules[i].kind >= FAULT_KINDS ||
			    plan.rules[i].chance > 1ull << 32 ||
			    plan.rules[i].window > FAULT_WINDOW_MAX || !plan.rules[i].target[0])
				abort();
		}
	}
	free(text);
	return 0;
}
