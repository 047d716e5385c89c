#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/capture.h"
#include "devices/chipset/tulip_internal.h"
#include "devices/table.h"

/*
 * The device.  Its configuration:
 *   {"mac": "52:54:00:12:34:56", "backend": "tap" | "stream" | "null", "fds": [N],
 *    "slot": on the PCI bus, "capture_fd": an empty file for a capture of all frames,
 *    ... as that backend has it}
 * of which mac and backend must be there.  It has one queue.  Where it has an "id", it says
 * {"link": false, "why": the end of a sentence} when its link goes.  Its verb set-link takes
 * {"up": false}, as a cable is pulled, and {"up": true}.
 * Restore wants a like backend, and quiesce called before it.
 */

#define DEFAULT_SLOT 0x0a

#define VENDOR_DIGITAL	 0x1011
#define DEVICE_21140	 0x0009
#define REVISION_21140A	 0x20
#define SUBSYSTEM_VENDOR 0x0a00 /* as Hyper-V's has them, which drivers are bound by */
#define SUBSYSTEM	 0x2114
#define CLASS_ETHERNET	 0x020000
#define CONFIG_MIN_GRANT 0x3e
#define CONFIG_MAX_WAIT	 0x3f
#define CONFIG_DRIVER	 0x40 /* CFDD: power, and a word of the driver's */

static int read_mac(const json_t *config, uint8_t *mac, struct error *err)
{
	const char *text = json_string_value(json_object_get(config, "mac"));
	unsigned int bytes[NET_MAC_BYTES];
	int used = 0;

	if (!text || strlen(text) != 3 * NET_MAC_BYTES - 1 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &bytes[0], &bytes[1], &bytes[2], &bytes[3],
		   &bytes[4], &bytes[5], &used) != NET_MAC_BYTES ||
	    used != 3 * NET_MAC_BYTES - 1 || bytes[0] & 1)
		return error_set(err, EINVAL,
				 "a legacy network adapter needs a \"mac\" like "
				 "52:54:00:12:34:56, not a multicast one");
	for (unsigned int i = 0; i < NET_MAC_BYTES; i++)
		mac[i] = (uint8_t)bytes[i];
	return 0;
}

static int open_port(struct tulip *tulip, const json_t *config, struct error *err)
{
	const char *name = json_string_value(json_object_get(config, "backend"));
	const struct net_backend *backend = name ? net_backend_find(name) : NULL;

	if (!backend)
		return error_set(err, EINVAL, "there is no NIC backend \"%s\"", name ? name : "");
	if (json_array_size(json_object_get(config, "fds")) > 1)
		return error_set(err, EINVAL,
				 "a legacy network adapter has one queue; give it one descriptor");
	return backend->open(config, &tulip->port, err);
}

/* What the guest wrote may let it go to memory. */
static void config_written(void *context, unsigned int offset, unsigned int size)
{
	struct tulip *tulip = context;

	if (offset > PCI_COMMAND)
		return;
	pthread_mutex_lock(&tulip->lock);
	tulip_wake(tulip);
	pthread_mutex_unlock(&tulip->lock);
}

static int plug_in(struct tulip *tulip, const json_t *config, struct error *err)
{
	const json_t *slot = json_object_get(config, "slot");
	struct pci_description description = {
		.vendor = VENDOR_DIGITAL,
		.device = DEVICE_21140,
		.subsystem_vendor = SUBSYSTEM_VENDOR,
		.subsystem = SUBSYSTEM,
		.class_code = CLASS_ETHERNET,
		.revision = REVISION_21140A,
		.interrupt_pin = 1,
		.bars = {tulip_io_bar, tulip_memory_bar},
		.config_written = config_written,
		.context = tulip,
	};
	int r = pci_function_new(tulip->env.pci,
				 slot ? (unsigned int)json_integer_value(slot) : DEFAULT_SLOT, 0,
				 &description, &tulip->function);

	if (r < 0)
		return error_host(err, -r, "the legacy network adapter has no place on PCI");
	pci_config_default(tulip->function, CONFIG_MIN_GRANT, 0x14, 0);
	pci_config_default(tulip->function, CONFIG_MAX_WAIT, 0x28, 0);
	pci_config_default(tulip->function, CONFIG_DRIVER + 1, 0, 0xff);
	pci_config_default(tulip->function, CONFIG_DRIVER + 3, 0, 0xc0);
	return 0;
}

static int make_buffers(struct tulip *tulip, struct error *err)
{
	tulip->transmits = calloc(TULIP_TRANSMITS, sizeof(*tulip->transmits));
	tulip->buffers = calloc(TULIP_BUFFERS, sizeof(*tulip->buffers));
	if (!tulip->transmits || !tulip->buffers)
		return error_memory(err, "a legacy network adapter");
	tulip_transmit_init(tulip);
	tulip_receive_init(tulip);
	return 0;
}

static int attach(struct tulip *tulip, struct error *err)
{
	int r = tulip_port_attach(tulip);

	return r < 0 ? error_host(err, -r, "the legacy network adapter cannot reach its host") : 0;
}

static void free_device(struct tulip *tulip)
{
	if (tulip->queue) {
		tulip_port_suspend(tulip);
		tulip_port_detach(tulip);
	}
	if (tulip->function)
		pci_function_free(tulip->function);
	if (tulip->port)
		tulip->port->backend->close(tulip->port);
	capture_free(tulip->capture);
	sem_destroy(&tulip->suspended);
	pthread_mutex_destroy(&tulip->lock);
	free(tulip->transmits);
	free(tulip->buffers);
	free(tulip);
}

/* The PHY too, which a reset of the chip leaves alone. */
static void power_on(struct tulip *tulip)
{
	pthread_mutex_lock(&tulip->lock);
	tulip->mode = 0;
	tulip_update_link(tulip);
	tulip_phy_reset(&tulip->phy);
	tulip_registers_reset(tulip);
	pthread_mutex_unlock(&tulip->lock);
}

static int tulip_create(const struct device_env *env, const json_t *config, void **device,
			struct error *err)
{
	const char *id = json_string_value(json_object_get(config, "id"));
	struct tulip *tulip = calloc(1, sizeof(*tulip));
	int r;

	if (!tulip)
		return error_memory(err, "a legacy network adapter");
	tulip->env = *env;
	tulip->thread = env->io_threads[0];
	tulip->plugged = true;
	snprintf(tulip->id, sizeof(tulip->id), "%s", id ? id : "");
	pthread_mutex_init(&tulip->lock, NULL);
	sem_init(&tulip->suspended, 0, 0);
	r = read_mac(config, tulip->mac, err);
	if (r == 0)
		r = make_buffers(tulip, err);
	if (r == 0)
		r = plug_in(tulip, config, err);
	if (r == 0)
		r = tulip_capture_open(tulip, config, err);
	if (r == 0)
		r = open_port(tulip, config, err);
	if (r == 0) {
		tulip->carrier = tulip->port->link_up;
		tulip_rom_init(&tulip->rom, tulip->mac, SUBSYSTEM_VENDOR, SUBSYSTEM);
		power_on(tulip);
		r = attach(tulip, err);
	}
	if (r < 0) {
		free_device(tulip);
		return r;
	}
	if (tulip->capture)
		close((int)json_integer_value(json_object_get(config, "capture_fd")));
	tulip_port_resume(tulip);
	*device = tulip;
	return 0;
}

static void tulip_destroy(void *device)
{
	free_device(device);
}

static void tulip_reset(void *device)
{
	struct tulip *tulip = device;

	pci_function_reset(tulip->function);
	power_on(tulip);
}

static void tulip_quiesce(void *device)
{
	tulip_port_suspend(device);
}

static void tulip_unquiesce(void *device)
{
	tulip_port_resume(device);
}

static void verb_set_link(void *device, const json_t *parameters, struct device_call *call)
{
	struct tulip *tulip = device;
	const json_t *up = json_object_get(parameters, "up");

	if (!json_is_boolean(up)) {
		call->refuse(call, "set-link needs \"up\"; say true or false");
		return;
	}
	pthread_mutex_lock(&tulip->lock);
	tulip->plugged = json_is_true(up);
	tulip_update_link(tulip);
	pthread_mutex_unlock(&tulip->lock);
	call->reply(call, json_pack("{s:b}", "up", json_is_true(up)));
}

static const struct device_verb tulip_verbs[] = {
	{"set-link", verb_set_link},
	{NULL, NULL},
};

const struct device_ops tulip_device = {
	.name = "tulip",
	.state_version = TULIP_STATE_VERSION,
	.create = tulip_create,
	.destroy = tulip_destroy,
	.reset = tulip_reset,
	.save = tulip_save,
	.restore = tulip_restore,
	.inspect = tulip_inspect,
	.quiesce = tulip_quiesce,
	.unquiesce = tulip_unquiesce,
	.verbs = tulip_verbs,
};
