#include <stdio.h>

#include "base/checked.h"
#include "mgmt/supervisor_internal.h"

/*
 * Whether the worker's main loop still answers.  Beats are counted, not time: a supervisor that was
 * itself stopped for a while has missed its own beats, too.
 */

#define HUNG_BEATS 5  /* without an answer: it is told */
#define KILL_BEATS 30 /* the worker is killed */

/* So many beats in words, as "10 s". */
static const char *duration(const struct supervisor *supervisor, unsigned int beats, char text[24])
{
	snprintf(text, 24, "%g s", supervisor->config->pulse_ms * beats / 1000.0);
	return text;
}

static void tell_hung(struct supervisor *supervisor)
{
	char sentence[128];
	char silent[24];
	char limit[24];

	snprintf(sentence, sizeof(sentence),
		 "the worker has not answered for %s; it is killed after %s",
		 duration(supervisor, HUNG_BEATS, silent), duration(supervisor, KILL_BEATS, limit));
	supervisor_announce(supervisor, "hung", sentence);
}

static void on_answer(void *context, const json_t *reply, const char *error)
{
	struct supervisor *supervisor = context;
	bool was_hung = supervisor->beats >= HUNG_BEATS;

	supervisor->beats = 0;
	supervisor->pinged = false;
	if (was_hung && reply && !supervisor->killed)
		supervisor_announce(supervisor, "answering", "the worker answers again");
}

static void on_pulse(void *context, uint32_t events)
{
	struct supervisor *supervisor = context;
	char silent[24];

	if (supervisor->stopping || supervisor->killed || !supervisor->worker_source)
		return;
	if (!supervisor->pinged) {
		supervisor->pinged =
			!supervisor_ask(supervisor, PROTOCOL_PING, on_answer, supervisor);
		return;
	}
	/* What it has answered meanwhile waits in the socket, where we were late ourselves. */
	if (supervisor_read_worker(supervisor) || !supervisor->pinged)
		return;
	supervisor->beats++;
	if (supervisor->beats == HUNG_BEATS)
		tell_hung(supervisor);
	if (supervisor->beats < KILL_BEATS)
		return;
	snprintf(supervisor->why, sizeof(supervisor->why), "had not answered for %s and was killed",
		 duration(supervisor, KILL_BEATS, silent));
	supervisor_kill_worker(supervisor, supervisor->why);
}

int supervisor_begin_pulse(struct supervisor *supervisor)
{
	uint64_t period_ns = supervisor->config->pulse_ms * 1000000ull;
	int r = event_loop_timer(supervisor->loop, on_pulse, supervisor, &supervisor->pulse_timer);

	return r ? r : event_timer_arm(supervisor->pulse_timer, period_ns, period_ns);
}
