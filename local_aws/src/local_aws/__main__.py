from tests.local_aws import launcher

launcher.main()
