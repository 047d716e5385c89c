#include "mgmt/vmms/figures.h"

#include <errno.h>
#include <stdlib.h>

#include "base/checked.h"
#include "mgmt/vmms/vm.h"
#include "mgmt/vmms/vm_link.h"
#include "mgmt/vmms/vm_run.h"
#include "mgmt/vmms/vm_table.h"

#define NS_A_MS 1000000ull

struct figures {
	struct event_loop *loop;
	const struct vm_table *table;
	struct event_source *timer; /* armed during a round: it is over then */
	struct list askers;
	unsigned int asker_count;
	unsigned int due;
	uint64_t round;
};

/* Those who ask from within done are those of the next round. */
static void finish(struct figures *figures)
{
	struct list askers;
	struct vm *vm;

	event_timer_arm(figures->timer, 0, 0);
	figures->due = 0;
	vm_table_for_each(vm, figures->table)
	{
		if (vm->run)
			vm->run->figures.awaited = false;
	}
	figures->asker_count = 0;
	list_take_all(&figures->askers, &askers);
	while (!list_empty(&askers)) {
		struct figures_asker *asker = list_entry(askers.next, struct figures_asker, link);

		list_remove(&asker->link);
		asker->done(asker);
	}
}

static void on_timer(void *context, uint32_t events)
{
	finish(context);
}

int figures_new(struct event_loop *loop, const struct vm_table *table, struct figures **out)
{
	struct figures *figures = calloc(1, sizeof(*figures));
	int r = figures ? event_loop_timer(loop, on_timer, figures, &figures->timer) : -ENOMEM;

	if (r) {
		free(figures);
		return r;
	}
	figures->loop = loop;
	figures->table = table;
	list_init(&figures->askers);
	*out = figures;
	return 0;
}

void figures_free(struct figures *figures)
{
	if (!figures)
		return;
	finish(figures);
	event_source_remove(figures->timer);
	free(figures);
}

/* The last one ends the round, though not from within the link that calls. */
static void no_longer_awaited(struct vm_figures *own)
{
	if (!own->awaited)
		return;
	own->awaited = false;
	if (--own->owner->due == 0)
		event_timer_arm(own->owner->timer, 1, 0);
}

static void on_answer(void *context, const json_t *reply, const char *error,
		      const json_t *parameters, bool continues)
{
	struct vm_figures *own = context;
	json_t *tree = json_object_get(reply, "tree");

	own->call = NULL;
	if (json_is_object(tree)) {
		json_decref(own->tree);
		own->tree = json_incref(tree);
		own->round = own->owner->round;
	}
	no_longer_awaited(own);
}

static void ask(struct figures *figures, struct vm_run *run)
{
	struct vm_figures *own = &run->figures;

	own->owner = figures;
	if (!own->call &&
	    vm_link_call(run->link, "Counters", NULL, false, on_answer, own, &own->call))
		return;
	own->awaited = true;
	figures->due++;
}

static void begin(struct figures *figures)
{
	struct vm *vm;

	figures->round++;
	vm_table_for_each(vm, figures->table)
	{
		if (vm->run && vm->state != VM_STARTING)
			ask(figures, vm->run);
	}
	event_timer_arm(figures->timer, figures->due ? FIGURES_PATIENCE_MS * NS_A_MS : 1, 0);
}

int figures_ask(struct figures *figures, struct figures_asker *asker)
{
	if (figures->asker_count == FIGURES_ASKERS_MAX)
		return -EBUSY;
	if (figures->asker_count++ == 0)
		begin(figures);
	list_append(&figures->askers, &asker->link);
	return 0;
}

const json_t *figures_of(const struct figures *figures, const struct vm_run *run)
{
	return run && run->figures.round == figures->round ? run->figures.tree : NULL;
}

void vm_figures_clear(struct vm_figures *own)
{
	no_longer_awaited(own);
	json_decref(own->tree);
	own->tree = NULL;
}
