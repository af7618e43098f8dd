# shellcheck shell=bash
# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

# Sourced with USER PROJECT; what OpenStack's clients read, and their path.

export OS_AUTH_URL=http://10.78.0.1:5000/v3 OS_IDENTITY_API_VERSION=3
export OS_USERNAME=$1 OS_PROJECT_NAME=$2 OS_PASSWORD=secret
export OS_USER_DOMAIN_NAME=Default OS_PROJECT_DOMAIN_NAME=Default
export OS_REGION_NAME=RegionOne OS_COMPUTE_API_VERSION=2.96
PATH=${EKKO_ONEBOX:-/var/tmp/ekko-onebox}/venv/bin:$PATH
