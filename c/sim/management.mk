# The simulated management libraries, under the vendors' own sonames, and the scenario they share.
SIM_SCENARIO = sim/scenario.c
SIM_NVML = $(BUILD)/sim/libnvidia-ml.so.1
SIM_DCMI = $(BUILD)/sim/libdcmi.so
ALL += $(SIM_NVML) $(SIM_DCMI)

$(SIM_NVML): sim/nvml.c sim/nvml_links.c sim/nvml_events.c sim/nvml.h $(SIM_SCENARIO) sim/scenario.h
	@mkdir -p $(@D)
	$(SHARED) -Wl,-soname,$(@F) -Wl,-z,defs -o $@ $(filter %.c,$^) -pthread

$(SIM_DCMI): sim/dcmi.c sim/dcmi_events.c sim/dcmi.h $(SIM_SCENARIO) sim/scenario.h
	@mkdir -p $(@D)
	$(SHARED) -Wl,-soname,$(@F) -Wl,-z,defs -o $@ $(filter %.c,$^) -pthread
