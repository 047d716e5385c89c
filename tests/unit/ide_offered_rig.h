#pragma once

/* A disk that is IDE's secondary slave, and which the stand-in for the bus offers as well: device
 * is the storage VSP there. */

#include <stdio.h>

#include "devices/chipset/ide_internal.h"
#include "machine_fixture.h"
#include "storvsp_rig.h"

#define OFFERED_PLACE 3

static struct machine pc;
static struct ide *ide;

static inline void open_offered(void)
{
	static const uint32_t handshake[] = {VSTOR_BEGIN_INITIALIZATION,
					     VSTOR_QUERY_PROTOCOL_VERSION, VSTOR_QUERY_PROPERTIES,
					     VSTOR_END_INITIALIZATION};
	struct vstor_packet answer;

	device = ide->offered[OFFERED_PLACE];
	open_channel(0);
	for (size_t i = 0; i < ARRAY_LENGTH(handshake); i++)
		ck_assert_uint_eq(control(&channels[0], handshake[i], VSTOR_VERSION_WIN10, &answer),
				  0);
}

/* controller and disk: what more their configurations have. */
static inline void setup_offered(const char *controller, const char *disk,
				 const struct device_events *events)
{
	char config[256];
	void *made = NULL;
	json_t *json;

	snprintf(config, sizeof(config),
		 "{%s%s\"disks\": [{\"lun\": %d, \"backend\": \"held\", \"name\": \"boot\", "
		 "\"bytes\": %u%s%s}]}",
		 controller, *controller ? ", " : "", OFFERED_PLACE, DISK_BYTES, *disk ? ", " : "",
		 disk);
	backend.count = backend.submitted = 0;
	machine_init(&pc);
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert_int_eq(io_thread_new("disk", 8, &threads[i]), 0);
		ck_assert_int_eq(io_thread_start(threads[i], NULL, NULL), 0);
	}
	pc.env.io_threads = threads;
	pc.env.io_thread_count = 2;
	if (events)
		pc.env.events = events;
	pc.env.bus = (struct vmbus *)&pc; /* at which its stand-in does not look */
	json = json_loads(config, 0, NULL);
	ck_assert_int_eq(ide_device.create(&pc.env, json, &made, NULL), 0);
	json_decref(json);
	ide = made;
	open_offered();
}

static inline void teardown_offered(void)
{
	storvsp_vsp.close(device, &channels[0]);
	fake_channel_clear(&channels[0]);
	ide_device.destroy(ide);
	for (unsigned int i = 0; i < 2; i++)
		io_thread_free(threads[i]);
	machine_fini(&pc);
}
