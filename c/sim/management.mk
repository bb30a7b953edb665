# The simulated management libraries, under the vendors' own sonames, and the scenario they share.
SIM_SCENARIO = sim/scenario.c sim/scenario_parse.c
SIM_PROCESSES = sim/card_processes.c interceptor/process.c
SIM_PROCESSES_HEADERS = sim/card_processes.h sim/card_memory.h interceptor/process.h
SIM_NVML = $(BUILD)/sim/libnvidia-ml.so.1
SIM_DCMI = $(BUILD)/sim/libdcmi.so
SIM_ROCM_SMI = $(BUILD)/sim/librocm_smi64.so.2
SIM_CNDEV = $(BUILD)/sim/libcndev.so
SIM_MTML = $(BUILD)/sim/libmtml.so.2
SIM_MANAGEMENT = $(SIM_NVML) $(SIM_DCMI) $(SIM_ROCM_SMI) $(SIM_CNDEV) $(SIM_MTML)
ALL += $(SIM_MANAGEMENT)

.PHONY: management
management: $(SIM_MANAGEMENT)

$(SIM_NVML): sim/nvml.c sim/nvml_identity.c sim/nvml_samples.c sim/nvml_links.c sim/nvml_events.c \
		sim/nvml.h $(SIM_PROCESSES) $(SIM_PROCESSES_HEADERS) $(SIM_SCENARIO) sim/scenario.h
	@mkdir -p $(@D)
	$(SHARED) -Wl,-soname,$(@F) -Wl,-z,defs -o $@ $(filter %.c,$^) -pthread

$(SIM_DCMI): sim/dcmi.c sim/dcmi_identity.c sim/dcmi_samples.c sim/dcmi_events.c sim/dcmi_950.c \
		sim/dcmi.h $(SIM_PROCESSES) $(SIM_PROCESSES_HEADERS) $(SIM_SCENARIO) sim/scenario.h
	@mkdir -p $(@D)
	$(SHARED) -Wl,-soname,$(@F) -Wl,-z,defs -o $@ $(filter %.c,$^) -pthread

$(SIM_ROCM_SMI): sim/rocm_smi.c sim/rocm_smi_metrics.c sim/rocm_smi_processes.c sim/rocm_smi.h \
		$(SIM_PROCESSES) $(SIM_PROCESSES_HEADERS) $(SIM_SCENARIO) sim/scenario.h
	@mkdir -p $(@D)
	$(SHARED) -Wl,-soname,$(@F) -Wl,-z,defs -o $@ $(filter %.c,$^) -pthread

$(SIM_CNDEV): sim/cndev.c sim/cndev_health.c sim/cndev_samples.c sim/cndev.h \
		$(SIM_PROCESSES) $(SIM_PROCESSES_HEADERS) $(SIM_SCENARIO) sim/scenario.h
	@mkdir -p $(@D)
	$(SHARED) -Wl,-soname,$(@F) -Wl,-z,defs -o $@ $(filter %.c,$^) -pthread

$(SIM_MTML): sim/mtml.c sim/mtml_samples.c sim/mtml.h $(SIM_SCENARIO) sim/scenario.h
	@mkdir -p $(@D)
	$(SHARED) -Wl,-soname,$(@F) -Wl,-z,defs -o $@ $(filter %.c,$^) -pthread
