#include "devices/block/sync_order.h"

#include <assert.h>

void sync_order_init(struct sync_order *order)
{
	pthread_mutex_init(&order->lock, NULL);
	order->next = 1;
	list_init(&order->in_flight);
	list_init(&order->held);
}

void sync_order_cleanup(struct sync_order *order)
{
	assert(list_empty(&order->in_flight) && list_empty(&order->held));
	pthread_mutex_destroy(&order->lock);
}

static void believe_all(struct list *syncs)
{
	while (!list_empty(syncs)) {
		struct sync *sync = list_entry(syncs->next, struct sync, node);

		list_remove(&sync->node);
		sync->party->believed(sync);
	}
}

/* On the party's thread: what others' ends have released. */
static void run_ready(struct io_post *post)
{
	struct sync_party *party = container_of(post, struct sync_party, post);
	struct list ready;

	pthread_mutex_lock(&party->order->lock);
	party->posted = false;
	list_take_all(&party->ready, &ready);
	pthread_mutex_unlock(&party->order->lock);
	believe_all(&ready);
}

void sync_party_init(struct sync_party *party, struct sync_order *order, struct io_thread *thread,
		     void (*believed)(struct sync *sync))
{
	party->order = order;
	party->thread = thread;
	party->believed = believed;
	party->post.run = run_ready;
	party->posted = false;
	list_init(&party->ready);
}

void sync_begin(struct sync_party *party, struct sync *sync)
{
	struct sync_order *order = party->order;

	sync->party = party;
	pthread_mutex_lock(&order->lock);
	sync->number = order->next++;
	list_append(&order->in_flight, &sync->node);
	pthread_mutex_unlock(&order->lock);
}

static void hand_over(struct sync_party *party, struct sync *sync)
{
	list_append(&party->ready, &sync->node);
	if (!party->posted)
		io_thread_post(party->thread, &party->post);
	party->posted = true;
}

/* Those of the party at hand go to ours.  With the lock. */
static void release(struct sync_order *order, const struct sync_party *party, struct list *ours)
{
	uint64_t oldest = order->next;
	struct sync *sync;

	if (!list_empty(&order->in_flight))
		oldest = list_entry(order->in_flight.next, struct sync, node)->number;
	list_for_each(sync, &order->held, node)
	{
		if (sync->number > oldest)
			return;
		list_remove(&sync->node);
		if (sync->party == party)
			list_append(ours, &sync->node);
		else
			hand_over(sync->party, sync);
	}
}

void sync_end(struct sync *sync, bool succeeded)
{
	const struct sync_party *party = sync->party;
	struct sync_order *order = party->order;
	struct list ours;

	list_init(&ours);
	pthread_mutex_lock(&order->lock);
	list_remove(&sync->node);
	if (succeeded) {
		sync->number = order->next;
		list_append(&order->held, &sync->node);
	}
	release(order, party, &ours);
	pthread_mutex_unlock(&order->lock);
	believe_all(&ours);
}
