#include "base/varlink_dispatch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/varlink_idl.h"

#define SERVICE_INTERFACE "org.varlink.service"

/* https://varlink.org/Service */
static const char service_text[] =
	"# What every Varlink service offers: a description of itself.\n"
	"interface org.varlink.service\n"
	"\n"
	"# Who it is, and the interfaces that it has.\n"
	"method GetInfo() -> (\n"
	"  vendor: string,\n"
	"  product: string,\n"
	"  version: string,\n"
	"  url: string,\n"
	"  interfaces: []string\n"
	")\n"
	"\n"
	"# The definition of one of these.\n"
	"method GetInterfaceDescription(interface: string) -> (description: string)\n"
	"\n"
	"# The service has no such interface.\n"
	"error InterfaceNotFound (interface: string)\n"
	"\n"
	"# The interface has no such method.\n"
	"error MethodNotFound (method: string)\n"
	"\n"
	"# The interface has it, but this service does not.\n"
	"error MethodNotImplemented (method: string)\n"
	"\n"
	"# A parameter is missing, unknown, or not what it may be.\n"
	"error InvalidParameter (parameter: string)\n"
	"\n"
	"# The caller may not do that.\n"
	"error PermissionDenied ()\n"
	"\n"
	"# The method is only for callers that take more than one reply.\n"
	"error ExpectedMore ()\n";

struct definition {
	const struct varlink_interface *interface;
	struct varlink_idl *idl;
};

struct varlink_definitions {
	const struct varlink_service *service;
	size_t count;
	struct definition entries[]; /* the first is that of the service itself */
};

static void get_info(void *context, struct varlink_call *call, const json_t *parameters)
{
	const struct varlink_definitions *definitions = context;
	const struct varlink_service *service = definitions->service;
	json_t *names = json_array();

	for (size_t i = 0; i < definitions->count; i++)
		json_array_append_new(names, json_string(definitions->entries[i].interface->name));
	varlink_reply(call, json_pack("{s:s, s:s, s:s, s:s, s:o}", "vendor", service->vendor,
				      "product", service->product, "version", service->version,
				      "url", service->url, "interfaces", names));
}

static const struct definition *find_definition(const struct varlink_definitions *definitions,
						const char *name, size_t length)
{
	for (size_t i = 0; i < definitions->count; i++) {
		const char *candidate = definitions->entries[i].interface->name;

		if (strlen(candidate) == length && !memcmp(candidate, name, length))
			return &definitions->entries[i];
	}
	return NULL;
}

static void get_description(void *context, struct varlink_call *call, const json_t *parameters)
{
	const char *name = json_string_value(json_object_get(parameters, "interface"));
	const struct definition *definition = find_definition(context, name, strlen(name));

	if (definition)
		varlink_reply(call, json_pack("{s:s}", "description",
					      definition->interface->description));
	else
		varlink_fail(call, SERVICE_INTERFACE ".InterfaceNotFound",
			     json_pack("{s:s}", "interface", name));
}

static const struct varlink_method service_methods[] = {
	{"GetInfo", get_info},
	{"GetInterfaceDescription", get_description},
};

static const struct varlink_interface service_interface = {
	SERVICE_INTERFACE,
	service_text,
	service_methods,
	ARRAY_LENGTH(service_methods),
};

static int add_definition(struct varlink_definitions *definitions,
			  const struct varlink_interface *interface)
{
	struct definition *definition = &definitions->entries[definitions->count];
	int r = varlink_idl_parse(interface->description, &definition->idl, NULL);

	if (r)
		return r;
	definition->interface = interface;
	definitions->count++;
	if (!varlink_idl_is(definition->idl, interface->name))
		return -EINVAL;
	for (size_t i = 0; i < interface->method_count; i++) {
		if (!varlink_idl_has_method(definition->idl, interface->methods[i].name))
			return -EINVAL;
	}
	return 0;
}

int varlink_definitions_new(const struct varlink_service *service, struct varlink_definitions **out)
{
	struct varlink_definitions *definitions =
		calloc(1, sizeof(*definitions) +
				  (service->interface_count + 1) * sizeof(struct definition));
	int r;

	if (!definitions)
		return -ENOMEM;
	definitions->service = service;
	r = add_definition(definitions, &service_interface);
	for (size_t i = 0; i < service->interface_count && !r; i++)
		r = add_definition(definitions, &service->interfaces[i]);
	if (r) {
		varlink_definitions_free(definitions);
		return r;
	}
	*out = definitions;
	return 0;
}

void varlink_definitions_free(struct varlink_definitions *definitions)
{
	if (!definitions)
		return;
	for (size_t i = 0; i < definitions->count; i++)
		varlink_idl_free(definitions->entries[i].idl);
	free(definitions);
}

static const struct varlink_method *find_method(const struct varlink_interface *interface,
						const char *name)
{
	for (size_t i = 0; i < interface->method_count; i++) {
		if (!strcmp(interface->methods[i].name, name))
			return &interface->methods[i];
	}
	return NULL;
}

static void fail_with(struct varlink_call *call, const char *error, const char *key,
		      const char *value, size_t length)
{
	varlink_fail(call, error, json_pack("{s:s%}", key, value, length));
}

/* The call, once its method is known. */
static void dispatch_to(const struct definition *definition, void *context,
			struct varlink_call *call, const struct varlink_method *method,
			json_t *parameters)
{
	char path[VARLINK_PATH_MAX] = "upgrade";
	bool fits;

	call->method = method;
	call->idl = definition->idl;
	/* Any other answer to a wish to upgrade would be taken for consent. */
	fits = !call->upgrade &&
	       !varlink_idl_check_call(definition->idl, method->name, parameters, path);
	if (fits && (!method->needs_more || call->wants_more)) {
		method->handle(context, call, parameters);
		return;
	}
	if (method->refused)
		method->refused(context, call, parameters,
				fits ? "ExpectedMore" : "InvalidParameter");
	if (fits)
		varlink_fail(call, SERVICE_INTERFACE ".ExpectedMore", NULL);
	else
		varlink_fail_parameter(call, path);
}

void varlink_dispatch(struct varlink_definitions *definitions, void *context,
		      struct varlink_call *call, const char *method, json_t *parameters)
{
	const char *dot = strrchr(method, '.');
	size_t length = dot ? (size_t)(dot - method) : strlen(method);
	const struct definition *definition =
		dot ? find_definition(definitions, method, length) : NULL;
	const struct varlink_method *found;

	if (!definition) {
		fail_with(call, SERVICE_INTERFACE ".InterfaceNotFound", "interface", method,
			  length);
		return;
	}
	found = find_method(definition->interface, dot + 1);
	if (found)
		dispatch_to(definition,
			    definition->interface == &service_interface ? definitions : context,
			    call, found, parameters);
	else if (varlink_idl_has_method(definition->idl, dot + 1))
		fail_with(call, SERVICE_INTERFACE ".MethodNotImplemented", "method", method,
			  strlen(method));
	else
		fail_with(call, SERVICE_INTERFACE ".MethodNotFound", "method", method,
			  strlen(method));
}

int varlink_check_answer(const struct varlink_definitions *definitions,
			 const struct varlink_call *call, const char *error,
			 const json_t *parameters, char *path)
{
	const char *dot = error ? strrchr(error, '.') : NULL;
	const struct definition *definition;
	int r;

	if (!error)
		return varlink_idl_check_reply(call->idl, call->method->name, parameters, path);
	definition = dot ? find_definition(definitions, error, (size_t)(dot - error)) : NULL;
	r = definition ? varlink_idl_check_error(definition->idl, dot + 1, parameters, path)
		       : -ENOENT;
	if (r == -ENOENT) {
		snprintf(path, VARLINK_PATH_MAX, "%s", error);
		r = -EINVAL;
	}
	return r;
}
